/**
 * Cancels tasks: a mark under the id (cancel.lua), of which turns inform workers. The worker that holds the task drops it, or
 * aborts it if it is running, and settles it as cancelled, which removes the mark.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';
import { requestOnce, type Requests } from './scripts/answers.ts';
import { script } from './scripts/scripts.ts';
import { shortId } from './task.ts';

/** How long a mark that meets no task is kept, ms. */
const KEPT_MS = 7 * 24 * 3_600_000;
const MOST_MARKS = 100_000;
/** Ids in one command. */
const CHUNK = 1_000;

/** The task was cancelled. Thrown to waiting clients; for a running handler, the reason of its AbortSignal. */
export class TaskCancelled extends Error {
  override name = 'TaskCancelled';
  constructor(id: string | Buffer) {
    super(`task ${shortId(id)} was cancelled`);
  }
}

/**
 * Marks a task. Resolves to `finished`, and does nothing, if it has a result or failed for good. `requests`: of this client, for more than
 * one call.
 */
export async function cancelTask(
  redis: Redis,
  keys: QueueKeys,
  id: string | Buffer,
  requests?: Requests,
): Promise<'marked' | 'finished'> {
  const { result, errors, cancelled, stats } = keys;
  const places = [result, errors, cancelled, stats];
  const request = (answers: string, about: string): Promise<unknown> =>
    script(redis, 'cancel')(...places, answers, id, KEPT_MS, MOST_MARKS, about);
  const isMarked = (reply: unknown): boolean => reply === 1;
  const reply = await (requests
    ? requests.send(request, isMarked)
    : requestOnce(redis, keys, request, isMarked));
  return isMarked(reply) ? 'marked' : 'finished';
}

/** All marks, as bytes; `undefined` if there are more than `most`. */
export async function readCancelMarks(
  redis: Redis,
  keys: QueueKeys,
  most: number,
): Promise<Buffer[] | undefined> {
  const marks = await redis.zrangeBuffer(keys.cancelled, '0', String(most));
  return marks.length > most ? undefined : marks;
}

/** Whether each of the ids is marked as cancelled. */
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
