/**
 * What is going on in a queue, for people and programs: read only, a handful of commands, nothing scanned.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';
import { pauseOf, type Pause } from './pause.ts';
import { listProgress, type TaskProgress } from './progress.ts';
import { sampleQueue, type QueueSample } from './sample.ts';

export interface WorkerView {
  readonly id: string;
  readonly epoch: number;
  readonly state: string;
  readonly inFlight: number;
  readonly concurrency: number;
  readonly version: string;
  /** ms of Redis time. */
  readonly started: number;
  /** How long its lease still lasts, ms; negative when it is over. */
  readonly leaseLeft: number;
}

export interface QueueView extends QueueSample {
  readonly workerList: readonly WorkerView[];
  /** Since when and why, when it is paused. */
  readonly pause: Pause | undefined;
  /** What handlers report of the tasks that they run, of some hundred tasks a worker at most. */
  readonly progress: readonly TaskProgress[];
}

/** A look at the queue and at its workers (at most 1,000 of them). */
export async function inspectQueue(redis: Redis, keys: QueueKeys): Promise<QueueView> {
  const sample = await sampleQueue(redis, keys);
  const leases = await redis.zrangebyscore(keys.workers, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1_000);
  const ids = leases.filter((_, i) => i % 2 === 0);
  const pipeline = redis.pipeline();
  for (const id of ids) {
    pipeline.hmget(keys.worker(id), 'epoch', 'state', 'concurrency', 'version', 'started');
    pipeline.hget(keys.load, id);
  }
  const replies = (await pipeline.exec()) ?? [];
  const workerList = ids.map((id, i): WorkerView => {
    const [epoch, state, concurrency, version, started] = (replies[2 * i]?.[1] ?? []) as (string | null)[];
    return {
      id,
      epoch: Number(epoch),
      state: state ?? 'lost',
      inFlight: Number(replies[2 * i + 1]?.[1] ?? 0),
      concurrency: Number(concurrency),
      version: version ?? '',
      started: Number(started),
      leaseLeft: Number(leases[2 * i + 1]) - sample.now,
    };
  });
  const holding = workerList.filter(({ inFlight }) => inFlight > 0).map(({ id }) => id);
  return {
    ...sample,
    workerList,
    pause: sample.paused ? await pauseOf(redis, keys) : undefined,
    progress: await listProgress(redis, keys, holding),
  };
}
