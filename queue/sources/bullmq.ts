/**
 * BullMQ 5 and 6 (seen: 5.81 and 6.7). Its blind spots for a reader of one list:
 *
 * - `prioritized` is a sorted set beside the list `wait`; a paused queue keeps `wait` (6) or renames it to `paused` (5), so both
 *   are counted, and a queue that is paused asks for no workers.
 * - The score of `delayed` is ms × 4096 plus a counter. Retries that back off and the next run of each scheduler are there, and
 *   only a running worker moves what is due.
 * - `active` keeps the jobs of workers that died, whose lock is gone after 30 s: only a worker that lives for half a minute gives
 *   them back, so they count as work; without lock and connection they hold no pod.
 * - A queue can limit how many of its jobs run (`setGlobalConcurrency`), and how many start in a time (`setGlobalRateLimit`): what waits
 *   beyond that asks for no workers. `limiter` counts the starts of this time, and expires with it. The limit of a `Worker`
 *   (`limiter`) is in no key.
 * - A parent that waits for its children is in `waiting-children`, where it can stay for ever: it is no work.
 */
import type { Redis } from 'ioredis';
import { plainText } from '../../runtime/plain-text.ts';
import { askDelayed, delayedIn, type ScoreUnit } from './delayed.ts';
import { LONGEST, type Ask } from './ask.ts';
import { withoutPort } from './client-address.ts';
import { count, fields, text, texts, waking } from './question.ts';
import { SourceTrouble, type Source, type SourceWorkers, type SourceCounts } from './source.ts';

export interface BullMqSettings {
  readonly queues: readonly string[];
  /** As given to `Queue` and `Worker`. */
  readonly prefix: string;
}

const SCORE: ScoreUnit = { factor: 4_096, slack: 4_095 };
/** Of jobs in `active`, as many are asked for their worker. */
const MOST_ACTIVE = 500;
/** What `rateLimit(ms)` of a queue sets the count of starts to: nothing starts before it expires. */
const NONE_STARTS = Number.MAX_SAFE_INTEGER;
/** No name of a worker: connections cannot have line breaks in theirs. */
const BEYOND = '\n';

export function bullMqSource({ queues, prefix }: BullMqSettings): Source {
  return {
    kind: 'bullmq',
    read: (ask, horizonMs) =>
      Promise.all(queues.map((queue) => readQueue(ask, `${prefix}:${queue}`, queue, horizonMs))),
    holding: {
      by: 'worker',
      // a job and its worker's name come into the keys in one step
      lagMs: 0,
      readWorkers: async (ask, redis) => {
        const all = await readConnections(redis, prefix);
        const connections = all.filter(({ queue }) => queues.includes(queue));
        const held = await Promise.all(queues.map((queue) => activeIn(ask, `${prefix}:${queue}`)));
        return workersFrom(connections, held.flat());
      },
    },
  };
}

async function readQueue(ask: Ask, base: string, queue: string, horizonMs: number): Promise<SourceCounts> {
  const { now, answers } = await ask({
    meta: waking(fields(`${base}:meta`, 'paused', 'version', 'opts.maxLenEvents', 'concurrency', 'max')),
    // when it expires, what waits may run
    starts: waking(text('GET', `${base}:limiter`)),
    wait: waking(count('LLEN', `${base}:wait`)),
    parked: waking(count('LLEN', `${base}:paused`)),
    prioritized: waking(count('ZCARD', `${base}:prioritized`)),
    active: count('LLEN', `${base}:active`),
    failed: count('ZCARD', `${base}:failed`),
    oldest: text('LINDEX', `${base}:wait`, -1),
    events: count('EXISTS', `${base}:events`),
    jobs: count('EXISTS', `${base}:id`),
    ...askDelayed(`${base}:delayed`, SCORE, horizonMs),
  });
  const [paused, , , mostRunning, mostStarts] = answers.meta;
  checkLayout(base, queue, answers);
  const waiting = answers.wait + answers.parked + answers.prioritized;
  const delayed = delayedIn(answers, SCORE);
  const free = Math.min(
    left(limitIn(mostRunning), answers.active),
    left(Math.max(1, limitIn(mostStarts) ?? NONE_STARTS), Number(answers.starts) || 0),
  );
  return {
    now,
    waiting,
    blocked: Math.max(0, waiting + delayed.due - free),
    inHand: answers.active,
    ...delayed,
    failed: answers.failed,
    paused: paused !== undefined,
  };
}

/** 0 is a limit as well: nothing runs, but the first job of a time starts. */
function limitIn(field: string | undefined): number | undefined {
  const limit = Number(field ?? NaN);
  // as BullMQ compares it: with 1.5 two run, and the third does not
  return Number.isNaN(limit) ? undefined : Math.ceil(limit);
}

function left(limit: number | undefined, used: number): number {
  return limit === undefined ? Infinity : Math.max(0, limit - used);
}

interface Layout {
  readonly meta: readonly (string | undefined)[];
  /** The member of `wait` that is taken next. */
  readonly oldest: string | undefined;
  /** Whether there are events, which BullMQ alone writes, and whether there was ever a job. */
  readonly events: number;
  readonly jobs: number;
}

/** Throws `SourceTrouble` where these are no keys of BullMQ 5 or 6. */
function checkLayout(base: string, queue: string, { meta, oldest = '', events, jobs }: Layout): void {
  const [, version, opened] = meta;
  const unknown = (of: string): SourceTrouble =>
    new SourceTrouble(
      'UnknownLayout',
      `queue "${queue}" is of ${of}, and the layouts of BullMQ 5 and 6 are known`,
      'use one of these, or source.custom',
    );
  const major = /^bullmq(?:-pro)?:(\d+)\./.exec(version ?? '')?.[1];
  if (version !== undefined && major !== '5' && major !== '6')
    throw unknown(`version ${plainText(version, 40)}`);
  // up to 4, a marker stands among the jobs
  if (/^0:\d+$/.test(oldest)) throw unknown('BullMQ 4 or older');
  if (version !== undefined || opened !== undefined || events > 0) return;
  if (jobs > 0) throw unknown('Bull');
  throw new SourceTrouble(
    'NotFound',
    `there is no BullMQ queue "${queue}" here (no key "${base}:meta")`,
    'check queues and prefix of source.bullmq, and the database in the address of Redis; a queue is there once a client has opened it',
  );
}

/** Connections of workers, by the name that each `Worker` gives its own. */
interface Connection {
  readonly queue: string;
  /** Of the worker, where its user named it. */
  readonly name: string | undefined;
  readonly address: string;
}

/**
 * Of workers of all queues. BullMQ names a worker's connection `prefix:base64(queue)`, and `:w:name` behind it where the worker has a
 * name.
 */
export async function readConnections(redis: Redis, prefix: string): Promise<readonly Connection[]> {
  const list = String(await redis.client('LIST'));
  return Array.from(list.matchAll(/ addr=(\S*).*? name=(\S+)/g), ([, address = '', client = '']) => ({
    address,
    client,
  })).flatMap(({ address, client }): Connection[] => {
    const [, base = client, name] = /^(.*?):w:(.*)$/.exec(client) ?? [];
    if (!base.startsWith(`${prefix}:`)) return [];
    const encoded = base.slice(prefix.length + 1);
    const queue = Buffer.from(encoded, 'base64').toString();
    // a client of another kind may have a name that only begins like these
    if (Buffer.from(queue).toString('base64') !== encoded) return [];
    return [{ queue, name, address: withoutPort(address) }];
  });
}

/** A job in `active`. */
interface ActiveJob {
  /** The name of the worker that took it, where that has one. */
  readonly worker: string | undefined;
  /** Its lock is there, which a worker renews unless it has died or its event loop is blocked. */
  readonly locked: boolean;
}

export async function activeIn(ask: Ask, base: string): Promise<readonly ActiveJob[]> {
  const { answers } = await ask({ jobs: texts('LRANGE', `${base}:active`, 0, MOST_ACTIVE) });
  const jobs = answers.jobs.slice(0, MOST_ACTIVE).filter(isWhole);
  const [locks, workers] = await Promise.all([
    ask(jobs.map((job) => count('EXISTS', `${base}:${job}:lock`))),
    ask(jobs.map((job) => text('HGET', `${base}:${job}`, 'pb'))),
  ]);
  const found = workers.answers.map((worker, i) => ({ worker, locked: locks.answers[i] !== 0 }));
  // the others may be anybody's
  const others = answers.jobs.length - jobs.length;
  return [...found, ...Array.from({ length: others }, () => ({ worker: BEYOND, locked: true }))];
}

/** Whether an id is the whole of a text, so that its keys can be named: it was not cut (ask.ts), and holds no bytes that are none. */
function isWhole(job: string): boolean {
  return Buffer.byteLength(job) < LONGEST && !job.includes('\uFFFD');
}

/**
 * A worker without a name may hold any job without one, and several of one name hold what that name holds. A connected worker
 * counts as holding its jobs with or without their locks: a handler that blocks its event loop cannot renew them.
 */
function workersFrom(connections: readonly Connection[], jobs: readonly ActiveJob[]): SourceWorkers {
  const known = new Set(connections.map(({ name }) => name));
  const tasksOf = (name: string | undefined): number => jobs.filter(({ worker }) => worker === name).length;
  // those of several queues in one pod hold together what their name holds
  const places = [...new Map(connections.map((one) => [`${one.name ?? ''}\n${one.address}`, one])).values()];
  return {
    workers: places.map(({ name, address }) => ({
      id: name ?? address,
      hosts: name === undefined ? [address] : [address, name],
      tasks: tasksOf(name),
      tasksShared: places.filter((other) => other.name === name).length > 1,
    })),
    unnamed: jobs.filter(({ worker, locked }) => locked && !known.has(worker)).length,
  };
}
