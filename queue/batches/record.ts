/** What is known of batches: how far they are, and the results of their parts. */
import type { Redis } from 'ioredis';
import type { FailurePolicy } from '../batch-mark.ts';
import { parseHeader } from '../dead-letter-format.ts';
import type { QueueKeys } from '../keys.ts';
import type { Part } from '../parts/part.ts';
import { script } from '../scripts/scripts.ts';

/**
 * `adding`: its client has not added all parts yet. `running`. `ended`: all parts have ended, and `then` was pushed. `failing`,
 * `cancelling`: what is left is being cancelled. `failed`, `cancelled`: it is over, without `then`.
 */
export type BatchState = 'adding' | 'running' | 'ended' | 'failing' | 'failed' | 'cancelling' | 'cancelled';

export interface BatchView {
  readonly id: string;
  readonly state: BatchState;
  readonly size: number;
  readonly succeeded: number;
  /** Failed for good. */
  readonly failed: number;
  readonly cancelled: number;
  /** Dead letters that it waits for. */
  readonly waiting: number;
  /** Parts that have not ended. */
  readonly left: number;
  readonly onFailure: FailurePolicy;
  /** Id of the task that follows. */
  readonly then: string | undefined;
  /** Why it was cancelled, or which part failed. */
  readonly why: string | undefined;
  /** ms of Redis time. */
  readonly createdAt: number;
  readonly endedAt: number | undefined;
}

/** The result of a part, or why there is none. */
export interface PartResult {
  readonly id: string;
  readonly value: string | undefined;
  readonly error: string | undefined;
}

const PAGE = 500;
const FIELDS = [
  'size',
  'policy',
  'open',
  'state',
  'done',
  'failed',
  'cancelled',
  'thenId',
  'why',
  'created',
  'endedAt',
] as const;

/** `undefined` if there is no batch of that id, or it ended more than a week ago. */
export async function readBatch(redis: Redis, keys: QueueKeys, id: string): Promise<BatchView | undefined> {
  const [values, dead] = await Promise.all([
    redis.hmget(keys.batch(id), ...FIELDS),
    redis.scard(keys.batchFailed(id)),
  ]);
  const of = (name: (typeof FIELDS)[number]): string | undefined => values[FIELDS.indexOf(name)] ?? undefined;
  const count = (name: (typeof FIELDS)[number]): number => Number(of(name) ?? 0);
  if (of('size') === undefined) return undefined;
  const [size, succeeded, failed, cancelled] = [
    count('size'),
    count('done'),
    count('failed'),
    count('cancelled'),
  ];
  const onFailure = (of('policy') ?? 'wait') as FailurePolicy;
  const state = (of('state') ?? (of('open') === undefined ? 'running' : 'adding')) as BatchState;
  return {
    id,
    state,
    size,
    succeeded,
    failed,
    cancelled,
    waiting: onFailure === 'wait' && (state === 'running' || state === 'adding') ? dead : 0,
    left: Math.max(0, size - succeeded - failed - cancelled),
    onFailure,
    then: of('thenId'),
    why: of('why'),
    createdAt: count('created'),
    endedAt: of('endedAt') === undefined ? undefined : count('endedAt'),
  };
}

/** The newest of those that are open, and after them those that ended within the last week, the last one first. */
export async function listBatches(redis: Redis, keys: QueueKeys, most = 100): Promise<BatchView[]> {
  const ids = await redis.zrange(keys.batches, '0', String(most - 1), 'REV');
  const views = await Promise.all(ids.map((id) => readBatch(redis, keys, id)));
  return views.filter((view) => view !== undefined);
}

/** Cancels a batch. `unknown`: there is none of that id. */
export async function cancelBatch(
  redis: Redis,
  keys: QueueKeys,
  id: string,
  why: string,
): Promise<'cancelled' | 'over' | 'unknown'> {
  const { queue, result, stats } = keys;
  const reply = await script(redis, 'batch-cancel')(queue, result, stats, id, why);
  return reply === 1 ? 'cancelled' : reply === 0 ? 'over' : 'unknown';
}

/** The results of the parts of a batch, in the order of the parts, a page at a time: of those that have not ended, neither value nor error. */
export async function* readBatchResults(part: Part, id: string): AsyncGenerator<PartResult> {
  const { redis, own, resultHash } = part;
  for (let from = 0; ; from += PAGE) {
    const ids = await redis.lrange(own.batchIds(id), from, from + PAGE - 1);
    if (ids.length === 0) return;
    const [values, errors] = await Promise.all([
      resultHash.redis.hmget(resultHash.key, ...ids),
      redis.hmgetBuffer(own.errors, ...ids),
    ]);
    for (const [i, partId] of ids.entries()) {
      const value = values[i] ?? undefined;
      const failed = value === undefined ? errors[i] : undefined;
      yield { id: partId, value, error: failed ? parseHeader(failed).error : undefined };
    }
  }
}
