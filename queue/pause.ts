/**
 * Pausing a queue: its workers begin nothing more of it and hand back what they have not begun; what runs is finished, and
 * clients go on pushing. Idle workers hear of a pause, and of its end, within a second.
 */
import type { Redis } from 'ioredis';
import { redisNow } from './connection/connection.ts';
import { plainText } from '../runtime/plain-text.ts';
import type { QueueKeys } from './keys.ts';
import { readCut } from './scripts/read.ts';
import { asText } from './scripts/decode-reply.ts';

const LONGEST = 1_024;

export interface QueuePause {
  /** Since when, ms of Redis time. */
  readonly at: number;
  /** Why, in the words of whoever paused it. */
  readonly reason: string;
}

/** Pauses the queue, also when it is paused already: the newest reason stays. */
export async function pauseQueue(redis: Redis, keys: QueueKeys, reason: string): Promise<void> {
  await redis.set(keys.paused, `${await redisNow(redis)} ${reason}`);
}

/** Resolves to whether it was paused. */
export async function resumeQueue(redis: Redis, keys: QueueKeys): Promise<boolean> {
  return (await redis.del(keys.paused)) === 1;
}

/** `undefined` when the queue is not paused. */
export async function readPause(redis: Redis, keys: QueueKeys): Promise<QueuePause | undefined> {
  const found = await readCut(redis, keys.paused, { bytes: LONGEST, values: 1 }, 'GET');
  if (found === null) return undefined;
  const [, at = '0', reason = ''] = /^(\d{1,16}) (.*)$/s.exec(asText(found, 'a pause', LONGEST)) ?? [];
  return { at: Number(at), reason: plainText(reason) };
}
