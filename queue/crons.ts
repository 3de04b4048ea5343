/**
 * What Redis knows of a pool's cron tasks: for each, up to when its occurrences are done with, and its last task. A state is replaced
 * only by whoever knows it, in the step that pushes the tasks, so an occurrence is pushed once however many controllers try.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';
import { asCount, asList, asText } from './scripts/decode-reply.ts';
import { script } from './scripts/scripts.ts';

export interface CronState {
  /** Of the schedule and the time zone: another one begins anew. */
  readonly of: string;
  /** Occurrences up to this time are done with, ms since the epoch. */
  readonly until: number;
  /** The last task: when it was due, and its id. */
  readonly last?: { readonly at: number; readonly id: string };
  /** That task has ended. */
  readonly over?: boolean;
}

/** A state, and the text that stands for it in Redis. */
export interface StoredState {
  readonly state: CronState | undefined;
  readonly text: string;
  /** Whether the id that was asked about has a result, or failed for good. */
  readonly over: boolean;
}

const MOST_BYTES = 4_096;

/** Reads a state, and whether a task has ended. */
export async function readCron(redis: Redis, keys: QueueKeys, name: string, id = ''): Promise<StoredState> {
  // no state is this text, so nothing is replaced
  const reply = await script(redis, 'cron')(...keysOf(keys), name, '?', '?', id);
  return stored(reply);
}

/**
 * Replaces the state that has this text, pushes the tasks, oldest first, and resolves to the new one; if another has replaced it
 * meanwhile, pushes nothing and resolves to `undefined`. `next: undefined` forgets it.
 */
export async function moveCron(
  redis: Redis,
  keys: QueueKeys,
  name: string,
  from: string,
  next: CronState | undefined,
  tasks: readonly string[],
): Promise<StoredState | undefined> {
  const text = next ? JSON.stringify(next) : '';
  const reply = await script(redis, 'cron')(...keysOf(keys), name, from, text, '', ...tasks);
  const [moved] = asList(reply, 'a cron task', 3);
  return asCount(moved, 'a cron task') === 1 ? { state: next, text, over: false } : undefined;
}

const keysOf = ({ crons, queue, result, errors }: QueueKeys): string[] => [crons, queue, result, errors];

function stored(reply: unknown): StoredState {
  const [, raw, over] = asList(reply, 'a cron task', 3);
  const text = asText(raw, 'the state of a cron task', MOST_BYTES);
  return { state: parseState(text), text, over: asCount(over, 'the end of a task') === 1 };
}

/** `undefined` for anything that is none of ours: the cron task begins anew. */
function parseState(text: string): CronState | undefined {
  try {
    const { of, until, last, over } = JSON.parse(text) as Partial<CronState>;
    if (typeof of !== 'string' || !Number.isSafeInteger(until) || until === undefined) return undefined;
    const known = last && typeof last.id === 'string' && Number.isSafeInteger(last.at) ? last : undefined;
    return { of, until, ...(known && { last: { at: known.at, id: known.id } }), over: over === true };
  } catch {
    return undefined;
  }
}
