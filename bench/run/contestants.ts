/**
 * The ways of working off a queue that are compared. Each has processes of its own that live as long as the run, so that they are
 * warm when it counts, and each gets the whole queue at one instant: the tasks are put where nobody looks and are then let go.
 */
import { Queue } from 'bullmq';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { queueKeys } from '../../queue/keys.ts';
import { startChild, type Child } from './child.ts';
import type { BenchRedis } from './redis.ts';
import { expectResult, idOf, inBatches, pushTasks, range, verifyResults } from './tasks.ts';
import type { WorkerBundle } from './worker-bundle.ts';

export interface Contestant extends AsyncDisposable {
  readonly name: string;
  readonly children: readonly Child[];
  /** Whether its processes are waiting for tasks. */
  ready(): Promise<boolean>;
  /** Stores tasks without making them available yet. */
  fill(count: number): Promise<void>;
  release(): Promise<void>;
  /** The number of results. */
  done(): Promise<number>;
  /** Throws if a result is missing or wrong. */
  verify(count: number): Promise<void>;
  /** Removes everything of the round. */
  clear(): Promise<void>;
}

/** The common part of all that take from a list and write to a hash. */
export function listAndHash(
  name: string,
  { redis }: BenchRedis,
  queue: string,
  result: string,
): Omit<Contestant, 'children' | 'ready'> {
  const aside = `${queue}:aside`;
  return {
    name,
    fill: (count) => pushTasks(redis, aside, count),
    release: async () => void (await redis.rename(aside, queue)),
    done: () => redis.hlen(result),
    verify: (count) => verifyResults(redis, result, count, name),
    clear: async () => void (await redis.del(result, queue)),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Millrace's own worker processes, as in their image, with all that they do for a task. */
export async function millraceWorker(
  server: BenchRedis,
  bundle: WorkerBundle,
  concurrency: number,
  processes = 1,
): Promise<Contestant> {
  const queue = processes === 1 ? `millrace-${concurrency}` : `millrace-${concurrency}x${processes}`;
  const result = `${queue}:result`;
  const retry = { attempts: 5, backoff: { initialMs: 1_000, maxMs: 60_000, jitter: true } };
  const settings = { redis: { url: server.url }, queue, result, concurrency, graceMs: 5_000, retry };
  const programs = await Promise.all(
    range(0, processes, (i) => bundle.program(settings, `${queue}-${i}`, 'handler.ts')),
  );
  const children = programs.map(startChild);
  const many = processes === 1 ? '' : `${processes} processes, `;
  return {
    ...listAndHash(`Millrace, ${many}concurrency ${concurrency}`, server, queue, result),
    children,
    ready: async () => (await server.redis.zcard(queueKeys(queue, result).workers)) === processes,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(children.map((child) => child[Symbol.asyncDispose]()));
    },
  };
}

/** One of the clients in bench/workers/: most drain the list on request, the blocking one as tasks arrive. */
export function drainer(
  server: BenchRedis,
  name: string,
  program: 'client-plain.ts' | 'client-pipelined.ts' | 'client-blocking.ts',
): Contestant {
  const queue = program.replace(/\.ts$/, '');
  const result = `${queue}:result`;
  const child = startChild({
    args: [`${import.meta.dirname}/../workers/${program}`, server.url, queue, result],
    env: process.env,
  });
  const shared = listAndHash(name, server, queue, result);
  return {
    ...shared,
    children: [child],
    // a word that is sent before it reads waits in the pipe
    ready: () => Promise.resolve(true),
    release: async () => {
      await shared.release();
      child.tell('go');
    },
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

/** BullMQ with its defaults: results are kept in the jobs, as ours are in the hash. */
export function bullmq(server: BenchRedis, concurrency: number): Contestant {
  const name = `BullMQ, concurrency ${concurrency}`;
  const queue = `bullmq-${concurrency}`;
  const redis = openRedis({ url: server.url });
  const jobs = new Queue(queue, { connection: { url: server.url } });
  const child = startChild({
    args: [`${import.meta.dirname}/../workers/client-bullmq.ts`, server.url, queue, String(concurrency)],
    env: process.env,
  });
  const ids = new Map<string, number>();
  return {
    name,
    children: [child],
    ready: async () => (await jobs.getWorkersCount()) === 1,
    fill: async (count) => {
      await jobs.pause();
      await inBatches(count, async (from, to) => {
        const added = await jobs.addBulk(
          range(from, to, (i) => ({ name: 'task', data: { id: idOf(i), n: i } })),
        );
        for (const job of added) ids.set(job.id ?? '', (job.data as { n: number }).n);
      });
    },
    release: () => jobs.resume(),
    done: () => jobs.getCompletedCount(),
    verify: async (count) => {
      if (ids.size !== count) throw new Error(`${name} took ${ids.size} of ${count} tasks`);
      const all = [...ids];
      await inBatches(count, async (from, to) => {
        const pipeline = redis.pipeline();
        for (const [id] of all.slice(from, to)) pipeline.hget(jobs.toKey(id), 'returnvalue');
        const replies = (await pipeline.exec()) ?? [];
        replies.forEach(([, value], i) =>
          expectResult(value as string | null, all[from + i]?.[1] ?? NaN, name),
        );
      });
    },
    clear: async () => {
      for (const id of ids.keys()) redis.del(jobs.toKey(id)).catch(() => undefined);
      ids.clear();
      await redis.del(jobs.toKey('completed'), jobs.toKey('events'));
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([child[Symbol.asyncDispose](), jobs.close(), closeRedis(redis)]);
    },
  };
}
