/**
 * What Redis knows of a pool's cron tasks: for each, up to when its occurrences are done with, and its last task. A state is replaced
 * only by whoever knows it, in the step that pushes the tasks, so an occurrence is pushed once however many controllers try.
 */
import type { Redis } from 'ioredis';
import { resultApart, type QueueKeys } from './keys.ts';
import { asBytes, asCount, asList, isTime } from './scripts/decode-reply.ts';
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
  /** Number of occurrences that were left out: nobody could push them when they were due, or the last task still ran. */
  readonly missed?: number;
  readonly skipped?: number;
}

export interface CronTask {
  readonly id: string;
  readonly raw: string;
}

/** `open`: it waits or runs. */
export type Outcome = 'open' | 'succeeded' | 'failed' | 'cancelled';
/** By the number in the script's reply. */
const OUTCOMES: readonly (Exclude<Outcome, 'open'> | undefined)[] = [
  undefined,
  'succeeded',
  'failed',
  'cancelled',
];

/** A state, and the bytes that stand for it in Redis, which may be no text; empty where there is none. */
export interface StoredState {
  readonly state: CronState | undefined;
  readonly bytes: Buffer;
  /** What became of the id that was asked about; `undefined` while that is open. */
  readonly outcome: Exclude<Outcome, 'open'> | undefined;
}

/** Reads a state, and what became of a task. */
export async function readCron(redis: Redis, keys: QueueKeys, name: string, id = ''): Promise<StoredState> {
  // no state is this text, so nothing is replaced
  const reply = await script(redis, 'cron')(...keysOf(keys), name, '?', '?', id);
  return stored(reply);
}

/** What became of a cron's task; `undefined` where that is not seen from here: its result is in another slot of a cluster. */
export async function readCronOutcome(
  redis: Redis,
  keys: QueueKeys,
  name: string,
  id: string,
): Promise<Outcome | undefined> {
  const { outcome } = await readCron(redis, keys, name, id);
  return outcome ?? (keys.result === resultApart(keys).result ? undefined : 'open');
}

/** The cron tasks that have a state beside this queue, a hundred or so at most. */
export async function listCrons(
  redis: Redis,
  { crons }: QueueKeys,
): Promise<readonly { readonly name: string; readonly state: CronState; readonly bytes: Buffer }[]> {
  const [, page] = await redis.hscanBuffer(crons, 0, 'COUNT', 100);
  return page.flatMap((name, i) => {
    const bytes = page[i + 1];
    const state = i % 2 === 0 && bytes ? parseState(bytes) : undefined;
    return state && bytes ? [{ name: name.toString(), state, bytes }] : [];
  });
}

/**
 * Replaces the state that has these bytes, pushes the tasks, oldest first, and resolves to the new one; if another has replaced it
 * meanwhile, pushes nothing and resolves to `undefined`. `next: undefined` forgets it.
 */
export async function moveCron(
  redis: Redis,
  keys: QueueKeys,
  name: string,
  from: Buffer,
  next: CronState | undefined,
  tasks: readonly CronTask[],
): Promise<StoredState | undefined> {
  const text = next ? JSON.stringify(next) : '';
  const [ids, raws] = [tasks.map(({ id }) => id), tasks.map(({ raw }) => raw)];
  const reply = await script(redis, 'cron')(...keysOf(keys), name, from, text, '', ...ids, ...raws);
  const [moved] = asList(reply, 'a cron task', 3);
  return asCount(moved, 'a cron task') === 1
    ? { state: next, bytes: Buffer.from(text), outcome: undefined }
    : undefined;
}

const keysOf = ({ crons, queue, result, errors, cancelled }: QueueKeys): string[] => [
  crons,
  queue,
  result,
  errors,
  cancelled,
];

function stored(reply: unknown): StoredState {
  const [, raw, outcome] = asList(reply, 'a cron task', 3);
  const bytes = asBytes(raw, 'the state of a cron task');
  return { state: parseState(bytes), bytes, outcome: OUTCOMES[asCount(outcome, 'the end of a task')] };
}

/** `undefined` for anything that is none of ours: the cron task begins anew. */
function parseState(bytes: Buffer): CronState | undefined {
  try {
    const { of, until, last, over, missed, skipped } = JSON.parse(bytes.toString()) as Partial<CronState>;
    if (typeof of !== 'string' || !Number.isSafeInteger(until) || until === undefined) return undefined;
    const known = last && typeof last.id === 'string' && isTime(last.at) ? last : undefined;
    return {
      of,
      until,
      ...(known && { last: { at: known.at, id: known.id } }),
      over: over === true,
      missed: countIn(missed),
      skipped: countIn(skipped),
    };
  } catch {
    return undefined;
  }
}

const countIn = (value: unknown): number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
