/** Batches in tests with a real server: their clients and workers. */
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import type { QueueKeys } from '../../queue/keys.ts';
import { openQueue, type Queue } from '../../queue/queue.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { eventually } from './eventually.ts';
import type { RedisServer } from './redis.ts';
import { startWorker, type TestWorker } from './workers.ts';

/** What a task of a batch has, and one that follows. */
export interface Followed {
  readonly n?: number;
  readonly parts?: {
    readonly batch: string;
    readonly size: number;
    readonly succeeded: number;
    readonly failed: number;
    readonly cancelled: number;
    readonly results: string;
    readonly ids: string;
  };
}

/** A client of the queue that has these keys. */
export function openAt(server: RedisServer, { queue, result }: QueueKeys): Queue {
  return openQueue({ redis: server.url, queue, result });
}

/** Doubles `n`; of a `then` task, adds up what its parts left. */
export function sums(redis: Redis, keys: QueueKeys): (task: unknown) => Promise<unknown> {
  return async (task) => {
    const { n, parts } = task as Followed;
    if (!parts) return 2 * (n ?? 0);
    const ids = await redis.lrange(parts.ids, 0, -1);
    const values = await redis.hmget(keys.result, ...ids);
    return { ...parts, ids: ids.length, sum: values.reduce((sum, value) => sum + Number(value), 0) };
  };
}

export const numbers = (count: number): { n: number }[] => Array.from({ length: count }, (_, n) => ({ n }));

export async function waiting(redis: Redis, keys: QueueKeys): Promise<Record<string, unknown>[]> {
  const raws = await redis.lrange(keys.queue, 0, -1);
  return raws.map((raw) => JSON.parse(raw) as Record<string, unknown>);
}

type Handler = (task: { readonly spawns?: readonly unknown[] }, context: TaskContext) => unknown;

/** Runs tasks one at a time and notes their bytes; a task adds those that it names. */
export function workNoting(
  server: RedisServer,
  keys: QueueKeys,
  ran: string[],
  handler: Handler = () => 'done',
): TestWorker {
  return startWorker(server, keys, {
    handler: (task, context) => {
      ran.push(String(context.raw));
      const { spawns } = task as { readonly spawns?: readonly unknown[] };
      if (spawns) context.spawn(spawns);
      return handler(task as object, context);
    },
  });
}

/** The batch when it is over. */
export async function over(queue: Queue, id: string) {
  return await eventually(async () => {
    const view = await queue.batch.show(id);
    expect(['ended', 'failed', 'cancelled']).toContain(view?.state);
    return view;
  });
}
