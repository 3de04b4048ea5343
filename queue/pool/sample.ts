/**
 * `queue/pool/` takes the keys of queues and returns their numbers, and stores what a pool keeps beside its first queue.
 * What the numbers mean and the records contain is the business of `controller/`.
 *
 * A consistent sample of a queue: waiting and running tasks, counters (sample.lua). Read-only.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { plainText, visible } from '../../runtime/plain-text.ts';
import { asCount, asCounterOrZero, asList, asMoment, asText } from '../scripts/decode-reply.ts';
import { isLevel, type Level } from '../priorities.ts';
import { decodeSurvey, type LimitsSurvey } from '../limits/limits.ts';
import { script } from '../scripts/scripts.ts';
import { SLOW_BUCKETS } from './slow-tasks.ts';

export interface QueueCounters {
  /** Tasks that workers took and did not hand back. */
  readonly taken: number;
  readonly completed: number;
  readonly failed: number;
  readonly cancelled: number;
  /** Dead letters that were not run, because they had expired. */
  readonly expired: number;
  /** Tasks that were not run, because others had their keys. */
  readonly duplicates: number;
  readonly retried: number;
  readonly recovered: number;
  readonly fenced: number;
  readonly serviceUs: number;
  /** Sum of the squares of service times, s², and the number of tasks in it: those of workers that report it. */
  readonly squaresS2: number;
  readonly squaredTasks: number;
}

export const noCounters: QueueCounters = {
  taken: 0,
  completed: 0,
  failed: 0,
  cancelled: 0,
  expired: 0,
  duplicates: 0,
  retried: 0,
  recovered: 0,
  fenced: 0,
  serviceUs: 0,
  squaresS2: 0,
  squaredTasks: 0,
};

export interface QueueSample {
  /** Redis time, ms. */
  readonly now: number;
  /** Tasks in the queue, suspects and those that limits hold back beside it included. */
  readonly waiting: number;
  /** Tasks put aside to run beside nothing else. */
  readonly suspects: number;
  /** Of them, those that run alone; the others run together, by halves. */
  readonly solitary: number;
  /** Workers that hold suspects, and so nothing else, and the tasks in flight there. */
  readonly apart: { readonly workers: number; readonly tasks: number };
  readonly inFlight: number;
  /** Workers that hold at least one task. */
  readonly busy: number;
  readonly delayed: number;
  /** Delayed tasks that are due but that no worker has moved to the queue yet. */
  readonly due: number;
  /** Delayed tasks that fall due within the horizon. */
  readonly dueSoon: number;
  /** When the next delayed task falls due, ms of Redis time. */
  readonly nextDue: number | undefined;
  readonly dead: number;
  /** Workers take nothing from it until it is resumed. */
  readonly paused: boolean;
  readonly workers: number;
  /** Workers whose lease has expired and that must be reaped. */
  readonly expired: number;
  /** There are workers, but none made a turn lately: a writer must advance queue time (turn.lua). */
  readonly silent: boolean;
  /** When the first lease expires unless renewed, ms of Redis time. */
  readonly nextExpiry: number | undefined;
  /** Results, errors or dead letters have expired and must be swept. */
  readonly overdue: boolean;
  readonly counters: QueueCounters;
  /** Workers, registered or not yet, ordered to drain. */
  readonly leaving: number;
  /** All-time number of tasks in each bucket of slow ones: see slow-tasks.ts. */
  readonly slow: readonly number[];
  /** The limits of the queue, and what they allow. */
  readonly limits?: LimitsSurvey;
  /** Its priorities that have lists, whether or not tasks may be pushed to them; absent for none. */
  readonly levels?: readonly Level[];
}

/**
 * A consistent sample of a queue, which counts delayed tasks due within `horizonMs`. Throws `WrongKeyType` when one of its keys
 * holds something else.
 */
export async function sampleQueue(redis: Redis, keys: QueueKeys, horizonMs = 0): Promise<QueueSample> {
  const { queue, result, workers, load, delayed, dead, stats, paused, expiry, suspects, leaving } = keys;
  const all = [queue, result, workers, load, delayed, dead, stats, paused, expiry, suspects, leaving];
  const read = [...all, keys.apart, keys.clock, keys.limits, keys.priorities] as const;
  const reply = await script(redis, 'sample')(...read, SLOW_BUCKETS, Math.round(horizonMs));
  checkTypes(read, reply);
  return decodeReply(keys, reply);
}

const COUNTERS = [
  'taken',
  'completed',
  'failed',
  'retried',
  'recovered',
  'fenced',
  'serviceUs',
  'cancelled',
  'squaredTasks',
  'squaresS2',
  'expired',
  'duplicates',
] as const satisfies readonly (keyof QueueCounters)[];

/** The reply of sample.lua, in the order of its head; from an untrusted server, so each value must be checked. */
type Reply = readonly [
  now: unknown,
  length: unknown,
  resultType: unknown,
  delayed: unknown,
  due: unknown,
  nextDue: unknown,
  dead: unknown,
  inFlight: unknown,
  busy: unknown,
  workers: unknown,
  expired: unknown,
  counters: unknown,
  paused: unknown,
  sweep: unknown,
  suspects: unknown,
  leaving: unknown,
  slow: unknown,
  nextExpiry: unknown,
  dueSoon: unknown,
  solitary: unknown,
  apart: unknown,
  beside: unknown,
  silent: unknown,
  limits: unknown,
  levels: unknown,
];
const VALUES: Reply['length'] = 25;

/** Throws `WrongKeyType` if sample.lua has found that one of our own keys holds something else. */
function checkTypes(read: readonly string[], reply: unknown): void {
  if (!Array.isArray(reply) || reply.length !== 2) return;
  const [position, type] = reply as unknown[];
  const key = read[asCount(position, 'the position of a key') - 1] ?? '';
  throw new WrongKeyType(
    key,
    'of the type that Millrace gives it',
    `it is a ${plainText(asText(type, 'a type'))}`,
  );
}

/** Throws `UnexpectedReply`, and `WrongKeyType` for a key of another type. */
function decodeReply(keys: QueueKeys, reply: unknown): QueueSample {
  const [now, length, resultType, delayed, due, nextDue, dead, inFlight, busy, workers, expired, ...rest] =
    asList(reply, 'a sample', VALUES) as Reply;
  const [stats, paused, sweep, suspects, leaving, slow, nextExpiry, dueSoon, solitary, ...last] = rest;
  const [apart, beside, silent, limited, inLists] = last;
  const limits = decodeSurvey(limited);
  const levels = asText(inLists, 'priorities').split(',').filter(isLevel);
  if (typeof length !== 'number')
    throw new WrongKeyType(keys.queue, 'a list', plainText(asText(length, 'the length')));
  const type = asText(resultType, 'the type of the result key');
  if (!['hash', 'none'].includes(type))
    throw new WrongKeyType(keys.result, 'a hash', `it is a ${plainText(type)}`);
  return {
    now: asCount(now, 'the time'),
    waiting: asCount(length, 'the length'),
    suspects: asCount(suspects, 'suspects'),
    solitary: asCount(solitary, 'solitary suspects'),
    apart: apartOf(asCount(apart, 'workers with suspects'), asCount(beside, 'suspects in flight')),
    inFlight: asCount(inFlight, 'tasks in flight'),
    busy: asCount(busy, 'busy workers'),
    delayed: asCount(delayed, 'delayed tasks'),
    due: asCount(due, 'due tasks'),
    dueSoon: asCount(dueSoon, 'tasks due soon'),
    dead: asCount(dead, 'dead letters'),
    workers: asCount(workers, 'workers'),
    expired: asCount(expired, 'expired leases'),
    nextExpiry: asMoment(nextExpiry, 'the next expiry'),
    silent: silent === 1,
    paused: paused === 1,
    overdue: sweep === 1,
    leaving: asCount(leaving, 'leaving workers'),
    slow: numbersOf(slow),
    nextDue: asMoment(nextDue, 'the next due time'),
    counters: countersOf(stats),
    ...(limits && { limits }),
    ...(levels.length > 0 && { levels }),
  };
}

const NO_SLOW: QueueSample['slow'] = Array.from({ length: SLOW_BUCKETS }, () => 0);

/** One object for all queues without any, which thousands of samples share. */
function numbersOf(slow: unknown): QueueSample['slow'] {
  const numbers = asList(slow, 'slow tasks', SLOW_BUCKETS).map((value) =>
    asCounterOrZero(value, 'slow tasks'),
  );
  return numbers.some((tasks) => tasks > 0) ? numbers : NO_SLOW;
}

const NONE_APART: QueueSample['apart'] = { workers: 0, tasks: 0 };

/** The same of workers with suspects. */
function apartOf(workers: number, tasks: number): QueueSample['apart'] {
  return workers + tasks === 0 ? NONE_APART : { workers, tasks };
}

/** The same of counters. */
function countersOf(stats: unknown): QueueCounters {
  const values = asList(stats, 'the counters', COUNTERS.length);
  const counters = COUNTERS.map((name, i) => [name, asCounterOrZero(values[i], name)] as const);
  return counters.some(([, count]) => count > 0)
    ? (Object.fromEntries(counters) as unknown as QueueCounters)
    : noCounters;
}

export class WrongKeyType extends Error {
  override name = 'WrongKeyType';
  /** The problem and its remedy, which the message combines. */
  readonly note: string;
  readonly todo: string;
  constructor(key: string, wanted: string, found: string, harm = 'nothing was touched') {
    const note = `the key ${visible(JSON.stringify(key))} is not ${wanted} (${found})`;
    const todo = 'use another key, or remove that one';
    super(`${note}: ${harm}; ${todo}`);
    this.note = note;
    this.todo = todo;
  }
}
