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

/** `onDuplicate`: called for each task that was not pushed, with its number and the id of the task that has its key. */
export function createBatchPusher(
  parts: Parts,
  delayMs: number | undefined,
  onDuplicate: (number: number, id: string) => void,
): BatchPusher {
  interface Batch {
    tasks: EncodedTask[];
    numbers: number[];
    bytes: number;
    /** The next batch is encoded while Redis executes this one. */
    sent: Promise<void>;
  }
  let added = 0;
  const batches = new Map<Part, Batch>();
  const send = async (part: Part, batch: Batch): Promise<void> => {
    await batch.sent;
    const { tasks, numbers } = batch;
    batch.sent = part.push(tasks, delayMs).then((duplicates) => {
      for (const [i, id] of duplicates) onDuplicate(numbers[i] ?? 0, id);
    });
    batch.sent.catch(() => undefined);
    batch.tasks = [];
    batch.numbers = [];
    batch.bytes = 0;
  };
  return {
    add: async (task) => {
      const part = homeOf(parts, task.id);
      const batch = batches.get(part) ?? { tasks: [], numbers: [], bytes: 0, sent: Promise.resolve() };
      batches.set(part, batch);
      batch.tasks.push(task);
      batch.numbers.push(added++);
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
