/**
 * Sidekiq 6.4 to 8 (seen: 6.4.1, 7.3.2, 8.1.7). Its blind spots for a reader of one list:
 *
 * - A job that a process has taken is in no key until its next heartbeat, which comes every 10 s (5 s in version 6).
 * - `schedule` and `retry` hold the jobs of all queues, and only a running process moves what is due, whosever it is. Of each, the first
 *   few are read for their queue, and the rest is taken to be as they are.
 * - `stat:processed` counts the jobs of all queues, with the heartbeats.
 * - The jobs of a process that was killed are in no key: they are lost, and what it said of itself stays for a minute.
 */
import type { Redis } from 'ioredis';
import type { Answers, Ask } from './ask.ts';
import { scoreIn } from '../scripts/decode-reply.ts';
import { dueAt, SECONDS } from './delayed.ts';
import { count, counter, texts, waking, type Moment, type Question } from './question.ts';
import {
  busyIn,
  concernsOf,
  LONGEST_BEAT_MS,
  readProcesses,
  withAges,
  workerOf,
} from './sidekiq-processes.ts';
import { SourceTrouble, type Source, type SourceCounts, type SourceWorker } from './source.ts';

export interface SidekiqSettings {
  readonly queues: readonly string[];
}

/** As many of the jobs that come first in `schedule` or `retry` are read, each cut to its beginning, where its queue stands. */
const SAMPLE = 20;
/** A signal that no process takes is gone after this, as Sidekiq's own are. */
const SIGNAL_S = 60;

export function sidekiqSource({ queues }: SidekiqSettings): Source {
  return {
    kind: 'sidekiq',
    read: (ask, horizonMs) => readQueues(ask, queues, horizonMs),
    holding: {
      by: 'worker',
      lagMs: LONGEST_BEAT_MS,
      readWorkers: async (ask) => {
        const { processes } = await readProcesses(ask);
        const ours = processes.filter(({ takesFrom }) => queues.some(takesFrom));
        return { workers: (await withAges(ask, ours)).map(workerOf), unnamed: 0, concerns: concernsOf(ours) };
      },
      orders: {
        drain: (redis, workers) => signal(redis, workers, 'TSTP'),
        // what is quiet stays quiet: once it holds nothing it ends, and Kubernetes starts its container anew
        resume: (redis, workers) =>
          signal(
            redis,
            workers.filter(({ tasks }) => tasks === 0),
            'TERM',
          ),
      },
    },
  };
}

/** Each process takes one with a heartbeat. */
async function signal(redis: Redis, workers: readonly SourceWorker[], name: string): Promise<void> {
  await Promise.all(
    workers.map(async ({ id }) => {
      const key = `${id}-signals`;
      if ((await redis.exists(key)) > 0) return; // one is on its way
      // no transaction, which the user in docs/sources.md may not begin: they go one after the other, in one round trip
      await Promise.all([redis.lpush(key, name), redis.expire(key, SIGNAL_S)]);
    }),
  );
}

/** One entry per queue, and one for what the queues share. */
async function readQueues(
  ask: Ask,
  queues: readonly string[],
  horizonMs: number,
): Promise<readonly SourceCounts[]> {
  const [scheduled, retried, { now, answers }, { answers: waiting }, { answers: known }, all] =
    await Promise.all([
      readJobs(ask, 'schedule', queues, horizonMs),
      readJobs(ask, 'retry', queues, horizonMs),
      ask({ dead: count('ZCARD', 'dead'), processed: counter('stat:processed') }),
      ask(queues.map((queue) => waking(count('LLEN', `queue:${queue}`)))),
      ask(queues.map((queue) => count('SISMEMBER', 'queues', queue))),
      readProcesses(ask),
    ]);
  const processes = all.processes.filter(({ takesFrom }) => queues.some(takesFrom));
  const unknown = queues.find((_, i) => (known[i] ?? 0) + (waiting[i] ?? 0) === 0);
  // a job that was scheduled enters no queue, and "queues" nothing, before a process moves it
  if (unknown !== undefined && processes.length + scheduled.delayed + retried.delayed === 0)
    throw new SourceTrouble(
      'NotFound',
      `there is no Sidekiq queue "${unknown}" here: "queues" does not name it, and no process takes from it`,
      'check source.sidekiq.queues and the database in the address of Redis; a queue is there once a job was put into it, and keys in a namespace (redis-namespace) are for source.custom',
    );
  return [
    ...waiting.map((jobs) => ({ now, waiting: jobs, inHand: 0, delayed: 0, due: 0, dueSoon: 0 })),
    {
      now,
      waiting: 0,
      inHand: processes.reduce((sum, one) => sum + busyIn(one), 0),
      delayed: scheduled.delayed + retried.delayed,
      due: scheduled.due + retried.due,
      dueSoon: scheduled.dueSoon + retried.dueSoon,
      nextDue: earliest(scheduled.nextDue, retried.nextDue),
      failed: answers.dead,
      finished: answers.processed,
      leaving: processes.filter(({ quiet }) => quiet).length,
    },
  ];
}

function earliest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}

type JobQuestions = {
  readonly delayed: Question<number>;
  readonly due: Question<number>;
  readonly dueSoon: Question<number>;
  /** Each job, and its score after it. */
  readonly first: Question<string[]>;
};

type Jobs = Pick<SourceCounts, 'delayed' | 'due' | 'dueSoon' | 'nextDue'>;

async function readJobs(
  ask: Ask,
  key: 'schedule' | 'retry',
  queues: readonly string[],
  horizonMs: number,
): Promise<Jobs> {
  const after = (plusMs: number, exclusive = false): Moment => ({
    plusMs: Math.round(plusMs),
    ...SECONDS,
    offset: 0,
    exclusive,
  });
  const questions: JobQuestions = {
    delayed: waking(count('ZCARD', key)),
    due: count('ZCOUNT', key, '-inf', after(0)),
    dueSoon: count('ZCOUNT', key, after(0, true), after(horizonMs)),
    first: texts('ZRANGE', key, 0, SAMPLE - 1, 'WITHSCORES'),
  };
  const { now, answers } = await ask(questions);
  return jobsOf(answers, queues, now, horizonMs);
}

/** How many of them are of these queues: known where all were read, else by the share among those that were. */
function jobsOf(
  { delayed, due, dueSoon, first }: Answers<JobQuestions>,
  queues: readonly string[],
  now: number,
  horizonMs: number,
): Jobs {
  const jobs = first.flatMap((job, i) =>
    i % 2 === 0 ? [{ at: dueAt(scoreIn(first[i + 1] ?? ''), SECONDS), ours: isOf(job, queues) }] : [],
  );
  const ours = jobs.filter((job) => job.ours);
  const share = jobs.length === 0 ? 1 : ours.length / jobs.length;
  const estimate = (total: number, least: number, is: (at: number) => boolean): number => {
    const beyond = total - jobs.filter(({ at }) => is(at)).length;
    const seen = ours.filter(({ at }) => is(at)).length;
    return beyond <= 0 ? seen : seen + Math.max(least, Math.round(beyond * share));
  };
  const nextDue = ours[0]?.at ?? (delayed > jobs.length ? jobs.at(-1)?.at : undefined);
  return {
    delayed: estimate(delayed, 1, () => true),
    // a process moves all that is due, and shows with it whose the rest was
    due: estimate(due, 1, (at) => at <= now),
    dueSoon: estimate(dueSoon, 0, (at) => at > now && at <= now + horizonMs),
    nextDue,
  };
}

/** A job's queue stands before its arguments. One that cannot be read may be anybody's. */
function isOf(job: string, queues: readonly string[]): boolean {
  const [, name] = /"queue":("(?:[^"\\]|\\.)*")/.exec(job) ?? [];
  return name === undefined || queues.some((queue) => JSON.stringify(queue) === name);
}
