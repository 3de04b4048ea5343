/**
 * SAQ (seen: 0.26.4). Its blind spots for a reader of one list:
 *
 * - `saq:QUEUE:incomplete` holds every job that is not done, with score 0 when it is queued or active: only scores above are due
 *   times, in seconds, and nothing but a running worker moves what is due.
 * - A job whose worker was killed stays in `active` until a live worker sweeps it after its timeout, and without timeout and
 *   heartbeat for ever, so it counts as work.
 * - An aborted job leaves `active` at once, although it runs for up to some seconds more.
 * - Which worker holds a job is in the job's record alone, at its end; the record of one that was just taken may still name the
 *   worker of an earlier attempt, but its status is not `active` then.
 * - An empty queue leaves no key, so a wrong name looks like a queue without jobs.
 */
import type { Ask } from './ask.ts';
import { delayedIn, SECONDS } from './delayed.ts';
import { count, lowestScore, text, texts, waking, type Moment } from './question.ts';
import type { Source, SourceWorkers, SourceCounts } from './source.ts';

export interface SaqSettings {
  readonly queues: readonly string[];
}

/** For how long an aborted job runs on: the worker looks for aborts once a second, and cancels them. */
const LAG_MS = 5_000;
const MOST_WORKERS = 500;
const MOST_ACTIVE = 500;
/** Bytes at the end of a job's record, in which its status and its worker are. */
const TAIL = 1_024;

export function saqSource({ queues }: SaqSettings): Source {
  return {
    kind: 'saq',
    read: (ask, horizonMs) => Promise.all(queues.map((queue) => readQueue(ask, queue, horizonMs))),
    holding: { by: 'worker', lagMs: LAG_MS, readWorkers: (ask) => readWorkers(ask, queues) },
  };
}

async function readQueue(ask: Ask, queue: string, horizonMs: number): Promise<SourceCounts> {
  const incomplete = `saq:${queue}:incomplete`;
  const { now, answers } = await ask({
    waiting: waking(count('LLEN', `saq:${queue}:queued`)),
    active: count('LLEN', `saq:${queue}:active`),
    // what wakes for a delayed job
    all: waking(count('ZCARD', incomplete)),
    delayed: count('ZCOUNT', incomplete, '(0', '+inf'),
    due: count('ZCOUNT', incomplete, '(0', seconds(0)),
    dueSoon: count('ZCOUNT', incomplete, { ...seconds(0), exclusive: true }, seconds(horizonMs)),
    lowest: lowestScore(incomplete, '(0'),
  });
  return { now, waiting: answers.waiting, inHand: answers.active, ...delayedIn(answers, SECONDS) };
}

function seconds(plusMs: number): Moment {
  return { plusMs: Math.round(plusMs), factor: SECONDS.factor, offset: 0 };
}

async function readWorkers(ask: Ask, queues: readonly string[]): Promise<SourceWorkers> {
  const found = await Promise.all(queues.map((queue) => readQueueWorkers(ask, queue)));
  const known = new Set(found.flatMap(({ workers }) => workers));
  const holders = found.flatMap((one) => one.holders);
  // one that holds a job counts as a worker, whether its own record has run out or not
  const names = new Set([...known, ...holders.filter((holder) => holder !== undefined)]);
  return {
    workers: [...names].map((name) => ({
      id: name,
      hosts: [name],
      tasks: holders.filter((holder) => holder === name).length,
    })),
    unnamed: holders.filter((holder) => holder === undefined).length,
    complete: true,
  };
}

interface QueueWorkers {
  readonly workers: readonly string[];
  /** Of each job in hand, its worker, where its record names it. */
  readonly holders: readonly (string | undefined)[];
}

export async function readQueueWorkers(ask: Ask, queue: string): Promise<QueueWorkers> {
  const [info, job] = [`saq:${queue}:worker_info:`, `saq:job:${queue}:`];
  const { answers } = await ask({
    workers: texts('ZRANGE', `saq:${queue}:stats`, nowMs(), '+inf', 'BYSCORE', 'LIMIT', 0, MOST_WORKERS),
    active: texts('LRANGE', `saq:${queue}:active`, 0, MOST_ACTIVE),
    length: count('LLEN', `saq:${queue}:active`),
  });
  const jobs = answers.active.filter((key) => key.startsWith(job)).slice(0, MOST_ACTIVE);
  const records = await ask(jobs.map((key) => text('GETRANGE', key, -TAIL, -1)));
  const holders = records.answers.map((tail) => workerIn(tail ?? ''));
  const others = Math.max(0, answers.length - holders.length);
  return {
    workers: answers.workers.filter((key) => key.startsWith(info)).map((key) => key.slice(info.length)),
    holders: [...holders, ...Array.from({ length: Math.min(1, others) }, () => undefined)],
  };
}

function nowMs(): Moment {
  return { plusMs: 0, factor: 1, offset: 0 };
}

/**
 * The worker at the end of a job's record, JSON, where that says that it runs. Before it is what a user keeps with the job
 * (`meta`), possibly with a "status" of its own. Exported for its test.
 */
export function workerIn(tail: string): string | undefined {
  const [, status, worker] =
    /"status":\s*"(\w+)"(?:,\s*"priority":\s*-?\d+)?(?:,\s*"meta":\s*\{.*\})?,\s*"worker_id":\s*"((?:[^"\\]|\\.)*)"\s*\}$/s.exec(
      tail,
    ) ?? [];
  return status === 'active' ? worker : undefined;
}
