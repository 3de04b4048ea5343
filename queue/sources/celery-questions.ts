/**
 * Questions to Celery's workers by its remote control, and the answers that they have pushed to a list of ours: JSON, or pickled where the
 * worker's tasks are.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { sleep } from '../../runtime/timers.ts';
import { replyCode } from '../connection/reply-code.ts';
import { WrongKeyType } from '../pool/sample.ts';
import { asBytes, asCount, asList, asText } from '../scripts/decode-reply.ts';
import { script } from '../scripts/scripts.ts';
import { readPickle } from './pickle.ts';

type Inquiry = 'active' | 'active_queues' | 'conf';

/** Longest answer, bytes of base64: some 40 tasks. The rest of a longer one is taken to be like its beginning. */
export const LONGEST = 65_536;
/** The first byte of an answer that is pickled. */
const PICKLE = 0x80;

/** Pauses between reads while answers are missing, ms: a second in all. */
const ANSWER_WAITS_MS = [20, 40, 80, 160, 300, 400] as const;

export type Item = Readonly<Record<string, unknown>>;

export function isItem(value: unknown): value is Item {
  return typeof value === 'object' && value !== null;
}

/** `answers`: the list that they are pushed to. */
export function question(method: Inquiry, args: object, answers: string): string {
  const more = {
    ticket: `${method}:@now@`,
    // no exchange: straight into the list
    reply_to: { exchange: '', routing_key: answers },
  };
  return envelope(method, args, more, `${method}:${answers}:@now@`);
}

/**
 * The channels of the remote control: the second one is that of workers behind sentinels up to kombu 5.3, which put no number there, and
 * is used where nobody listens to the first one.
 */
export function channelsOf({ options }: Redis, keyPrefix: string): readonly [string, string] {
  const channel = (db: string): string => `${keyPrefix}/${db}.celery.pidbox`;
  return [channel(String(options.db ?? 0)), channel('{db}')];
}

/** `tag`: a worker with `sentinel_fanout_compat` takes a message with the tag of an earlier one for the same. */
export function envelope(method: string, args: object, more: object, tag: string = randomUUID()): string {
  const body = { method, arguments: args, destination: null, pattern: null, matcher: null, ...more };
  return JSON.stringify({
    body: JSON.stringify(body),
    'content-encoding': 'utf-8',
    'content-type': 'application/json',
    headers: { clock: 0, expires: 0 },
    properties: {
      delivery_mode: 1,
      delivery_info: { exchange: 'celery.pidbox', routing_key: '' },
      delivery_tag: `millrace:${tag}`,
      priority: 0,
    },
  });
}

export interface Asking {
  /** Celery's `global_keyprefix`. */
  readonly keyPrefix: string;
  /** Of the answers, without the prefix. */
  readonly list: string;
  readonly questions: readonly string[];
  /** The least time since the last questions, ms; less than 0: asks nothing. */
  readonly leastMs: number;
  /** The most bytes of an answer; 0: none is read. */
  readonly longest: number;
  readonly ttlS: number;
}

/** The reply of celery-ask.lua. Throws `WrongKeyType` where the list of answers is something else. */
export async function askWorkers(redis: Redis, asking: Asking): Promise<unknown> {
  const { keyPrefix, list, questions, leastMs, longest, ttlS } = asking;
  const key = `${keyPrefix}${list}`;
  const channels = channelsOf(redis, keyPrefix);
  try {
    return await script(redis, 'celery-ask')(key, ...channels, leastMs, longest, ttlS, ...questions);
  } catch (error) {
    if (replyCode(error) !== 'WRONGTYPE') throw error;
    throw new WrongKeyType(key, 'a list', 'the workers of Celery answer into it');
  }
}

/** What `read` finds when all have answered, or after a second. */
export async function awaitAnswers<T>(
  read: () => Promise<T>,
  isComplete: (answers: T) => boolean,
): Promise<T> {
  const [first, ...others] = ANSWER_WAITS_MS;
  await sleep(first);
  let answers = await read();
  for (const ms of others) {
    if (isComplete(answers)) break;
    await sleep(ms);
    answers = await read();
  }
  return answers;
}

export interface RawAnswer {
  readonly inquiry: string | undefined;
  /** When it was asked. */
  readonly at: number;
  readonly body: Buffer;
  /** Bytes of the whole answer, of which `body` may be the beginning. */
  readonly whole: number;
}

/**
 * The answers, with what was asked, when, and how much of each there is. Without those to questions that would have been asked after `now`:
 * they came late, after the clock of Redis was set back, and would pass for the newest.
 */
export function answersIn(listed: unknown, now: number, what: string): readonly RawAnswer[] {
  const answers = asList(listed, what);
  return answers.flatMap((_, i): RawAnswer[] => {
    if (i % 3 !== 0 || i + 2 >= answers.length) return [];
    const [, inquiry, time] = /^(\w+):(\d+)$/.exec(asText(answers[i], what)) ?? [];
    const at = Number(time);
    if (!(at > 0 && at <= now)) return [];
    const body = Buffer.from(asBytes(answers[i + 1], what).toString('latin1'), 'base64');
    return [{ inquiry, at, body, whole: asCount(answers[i + 2], what) }];
  });
}

/** A worker's name and its answer. */
export function parseAnswer(body: Buffer): readonly [string, unknown] | undefined {
  let parsed: unknown;
  try {
    // by the worker's `task_serializer`
    parsed = body[0] === PICKLE ? readPickle(body) : JSON.parse(body.toString());
  } catch {
    return undefined;
  }
  const [entry] = Object.entries(parsed ?? {}) as [string, unknown][];
  return entry;
}

export function numberIn(value: unknown): number | undefined {
  return typeof value === 'number' && value > 0 ? value : undefined;
}
