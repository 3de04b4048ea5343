/** Batches as a client of a queue has them. */
import type { Part } from '../parts/part.ts';
import type { Parts } from '../parts/parts.ts';
import { traced } from '../tracing.ts';
import { addBatch, type Batch, type BatchOptions, type Tasks } from './add.ts';
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
   * Throws `BadBatch` for what cannot be a batch, `BatchExists`, and `BatchCancelled` when the batch failed or was cancelled meanwhile. If
   * `tasks` throws, the batch is cancelled. Not for a queue in partitions.
   */
  (tasks: Tasks, options?: BatchOptions): Promise<Batch>;
  /** How far it is; `undefined` if there is none of that id, or it ended more than a week ago. */
  show(id: string): Promise<BatchView | undefined>;
  /** Those that are open first, then those that ended within the last week; 100 by default. */
  list(count?: number): Promise<BatchView[]>;
  /** Cancels the parts that have not ended, as `queue.cancel` does; `then` counts as cancelled, too. */
  cancel(id: string): Promise<'cancelled' | 'over' | 'unknown'>;
  /** The results of its parts, in the order in which they were added. */
  results(id: string): AsyncIterable<PartResult>;
}

/** Throws `RangeError` when it is used with a queue in partitions. */
export function openBatches({ all }: Parts): Batches {
  const only = (): Part => {
    const [part] = all;
    if (part && all.length === 1) return part;
    throw new RangeError(
      'a queue in partitions has no batches, because their parts would be counted on several servers: use a queue without partitions for them',
    );
  };
  const add = async (tasks: Tasks, options: BatchOptions = {}): Promise<Batch> => {
    const part = only();
    return await traced(part.keys.queue, async (stamp) => {
      const value = await addBatch({ part, stamp }, tasks, options);
      return { tasks: value.size, value };
    });
  };
  return Object.assign(add, {
    show: async (id: string) => await readBatch(only().redis, only().own, id),
    list: async (count?: number) => await listBatches(only().redis, only().own, count),
    cancel: async (id: string) => await cancelBatch(only().redis, only().own, id, 'it was cancelled'),
    results: (id: string) => readBatchResults(only(), id),
  });
}
