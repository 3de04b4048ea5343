/**
 * Cancelling a task: a mark under its id (cancel.lua), which workers hear of with their turns. The worker that meets the
 * task drops it, or aborts it where it runs, and settles it as cancelled, which takes the mark away.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';
import { script } from './scripts/scripts.ts';
import { shortId } from './task.ts';

/** How long a mark that meets no task is kept, ms. */
const KEPT_MS = 7 * 24 * 3_600_000;
const MOST_MARKS = 100_000;
/** Ids in one command. */
const CHUNK = 1_000;

/** Somebody cancelled the task. Waiting clients get it, and a running handler as the reason of its AbortSignal. */
export class TaskCancelled extends Error {
  override name = 'TaskCancelled';
  constructor(id: string | Buffer) {
    super(`task ${shortId(id)} was cancelled`);
  }
}

/** Marks a task. `finished` when it has a result or failed for good: then nothing is done. */
export async function cancelTask(
  redis: Redis,
  keys: QueueKeys,
  id: string | Buffer,
): Promise<'marked' | 'finished'> {
  const { result, errors, cancelled, stats } = keys;
  const marked = await script(redis, 'cancel')(result, errors, cancelled, stats, id, KEPT_MS, MOST_MARKS);
  return marked === 1 ? 'marked' : 'finished';
}

/** The marks that there are, as bytes; `undefined` when they are more than `most`. */
export async function readCancelMarks(
  redis: Redis,
  keys: QueueKeys,
  most: number,
): Promise<Buffer[] | undefined> {
  const marks = await redis.zrangeBuffer(keys.cancelled, '0', String(most));
  return marks.length > most ? undefined : marks;
}

/** For each of the ids whether it is marked as cancelled. */
export async function areCancelled(
  redis: Redis,
  keys: QueueKeys,
  ids: readonly (string | Buffer)[],
): Promise<boolean[]> {
  const chunks = Array.from({ length: Math.ceil(ids.length / CHUNK) }, (_, i) =>
    redis.zmscore(keys.cancelled, ...ids.slice(i * CHUNK, (i + 1) * CHUNK)),
  );
  return (await Promise.all(chunks)).flat().map((score) => score !== null);
}
