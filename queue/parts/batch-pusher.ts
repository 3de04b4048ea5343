/** Pushes tasks in batches to the partitions that their ids choose. */
import type { EncodedTask } from '../task.ts';
import type { Part } from './part.ts';
import { homeOf, type Parts } from './parts.ts';

const BATCH_TASKS = 1_000;
const BATCH_BYTES = 1 << 20;

/** Takes tasks and pushes them in batches, those of a partition in order, those of several partitions at the same time. */
export interface BatchPusher {
  add(task: EncodedTask): Promise<void>;
  /** Pushes what is left. Rejects with the first error of any push. */
  end(): Promise<void>;
}

export function createBatchPusher(parts: Parts, delayMs: number | undefined): BatchPusher {
  interface Batch {
    tasks: EncodedTask[];
    bytes: number;
    /** The next batch is encoded while Redis executes this one. */
    sent: Promise<void>;
  }
  const batches = new Map<Part, Batch>();
  const send = async (part: Part, batch: Batch): Promise<void> => {
    await batch.sent;
    batch.sent = part.push(batch.tasks, delayMs);
    batch.sent.catch(() => undefined);
    batch.tasks = [];
    batch.bytes = 0;
  };
  return {
    add: async (task) => {
      const part = homeOf(parts, task.id);
      const batch = batches.get(part) ?? { tasks: [], bytes: 0, sent: Promise.resolve() };
      batches.set(part, batch);
      batch.tasks.push(task);
      batch.bytes += task.raw.length;
      if (batch.tasks.length >= BATCH_TASKS || batch.bytes >= BATCH_BYTES) await send(part, batch);
    },
    end: async () => {
      await Promise.all(
        Array.from(batches, async ([part, batch]) => {
          if (batch.tasks.length > 0) await send(part, batch);
          await batch.sent;
        }),
      );
    },
  };
}
