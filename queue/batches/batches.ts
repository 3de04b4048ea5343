/** Batches as a client of a queue has them. */
import type { QueueKeys } from '../keys.ts';
import type { Part } from '../parts/part.ts';
import type { Parts } from '../parts/parts.ts';
import { namingKey } from '../wrong-key.ts';
import { traced } from '../tracing.ts';
import { addBatch, type Batch, type BatchOptions, type Tasks } from './add.ts';
import { redisOfParts } from './chunks.ts';
import {
  cancelBatch,
  listBatches,
  readBatch,
  readBatchResults,
  type BatchView,
  type PartResult,
} from './record.ts';

export interface Batches {
  /**
   * Adds tasks as the parts of a batch, and resolves when all of them have been added; of an iterable of a million it holds a thousand at a time.
   * A part is a JSON object, or the text of one; it gets the field `batch`, and the id `BATCH:n` if it has none, n being its number from 0.
   * Of several with one id, one is added. When all parts have ended, the task `then` is pushed, once.
   *
   * Throws `BadBatch` for what cannot be a batch, `BatchExists`, and `BatchCancelled` when the batch failed or was cancelled before its last
   * parts were sent. If `tasks` throws, the batch is cancelled.
   */
  (tasks: Tasks, options?: BatchOptions): Promise<Batch>;
  /**
   * How far it is; `undefined` if there is none of that id, or it ended more than a week ago. Rejects with `WrongKeyType` where a key of it is
   * something else's, as do `cancel` and `results`.
   */
  show(id: string): Promise<BatchView | undefined>;
  /** Those that are open first, then those that ended within the last week; 100 by default. */
  list(count?: number): Promise<BatchView[]>;
  /** Cancels the parts that have not ended, as `queue.cancel` does; `then` counts as cancelled, too. */
  cancel(id: string): Promise<'cancelled' | 'over' | 'unknown'>;
  /** The results of its parts, in the order in which they were added. */
  results(id: string): AsyncIterable<PartResult>;
}

/** `queue`, `result`: the names that people know. */
export function openBatches(parts: Parts, { queue, result }: Pick<QueueKeys, 'queue' | 'result'>): Batches {
  const redisOf = redisOfParts(parts);
  const queues = parts.all.map(({ own }) => own);
  const add = async (tasks: Tasks, options: BatchOptions = {}): Promise<Batch> =>
    await traced(queue, async (stamp) => {
      const adding = addBatch({ parts, resultName: result, stamp }, tasks, options);
      const value = await adding.catch(async (error: unknown) => {
        const { id: batch } = options;
        const harm = 'what had been added of the batch was cancelled';
        throw await namingKey(error, parts.all, { ...(batch !== undefined && { batch }), harm });
      });
      return { tasks: value.size, value };
    });
  const named = async <T>(id: string, run: () => Promise<T>): Promise<T> => {
    try {
      return await run();
    } catch (error) {
      throw await namingKey(error, parts.all, { batch: id });
    }
  };
  return Object.assign(add, {
    show: (id: string) =>
      named(id, async () => {
        const whole = await findBatch(parts, id);
        return whole && (await readBatch(redisOf, whole.own, id));
      }),
    list: async (count?: number) => await listBatches(redisOf, queues, count),
    cancel: (id: string) =>
      named(id, async () => {
        const whole = await findBatch(parts, id);
        return whole ? await cancelBatch(redisOf, whole.own, id, 'it was cancelled') : ('unknown' as const);
      }),
    results: async function* (id: string) {
      try {
        const whole = await findBatch(parts, id);
        if (whole) yield* readBatchResults(parts, whole, id);
      } catch (error) {
        throw await namingKey(error, parts.all, { batch: id });
      }
    },
  });
}

/** The partition that has the batch, and not a share of it. */
async function findBatch({ all }: Parts, id: string): Promise<Part | undefined> {
  if (all.length === 1) return all[0];
  const roles = await Promise.all(all.map(({ redis, own }) => redis.hmget(own.batch(id), 'size', 'role')));
  return all.find((_, i) => roles[i]?.[0] && roles[i][1] !== 'share');
}
