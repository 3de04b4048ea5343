/**
 * Pauses a queue: its workers begin no more of its tasks and hand back those not begun; running ones are finished, and clients
 * may still push. Idle workers notice a pause, and its end, within a second.
 */
import type { Redis } from 'ioredis';
import { redisNow } from './connection/connection.ts';
import { plainText } from '../runtime/plain-text.ts';
import type { QueueKeys } from './keys.ts';
import { readCut } from './scripts/read.ts';
import { requestOnce } from './scripts/answers.ts';
import { asText } from './scripts/decode-reply.ts';
import { script } from './scripts/scripts.ts';

const LONGEST = 1_024;

export interface QueuePause {
  /** When it was paused, ms of Redis time. */
  readonly at: number;
  /** The reason that was given; may be empty. */
  readonly reason: string;
}

/** Pauses the queue; if it is paused already, replaces the reason. */
export async function pauseQueue(redis: Redis, keys: QueueKeys, reason: string): Promise<void> {
  await redis.set(keys.paused, `${await redisNow(redis)} ${reason}`);
}

/** Resolves to whether the queue was paused. */
export async function resumeQueue(redis: Redis, keys: QueueKeys): Promise<boolean> {
  const request = (answers: string, about: string): Promise<unknown> =>
    script(redis, 'resume')(keys.paused, answers, about);
  return (await requestOnce(redis, keys, request, (reply) => reply === 1)) === 1;
}

/** `undefined` when the queue is not paused. */
export async function readPause(redis: Redis, keys: QueueKeys): Promise<QueuePause | undefined> {
  const found = await readCut(redis, keys.paused, { bytes: LONGEST, values: 1 }, 'GET');
  if (found === null) return undefined;
  const [, at = '0', reason = ''] = /^(\d{1,16}) (.*)$/s.exec(asText(found, 'a pause', LONGEST)) ?? [];
  return { at: Number(at), reason: plainText(reason) };
}
