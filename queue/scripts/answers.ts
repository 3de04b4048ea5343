/**
 * Requests whose second run would have another answer than the first. A connection may break after Redis has executed one and before its
 * reply arrives; ioredis then resends it on the next one. So each has a number, and Redis keeps the answer of what changed something, in the
 * same step, until the client has it (once.lua).
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { within } from '../connection/connection.ts';
import type { QueueKeys } from '../keys.ts';

const UNLINK_TIMEOUT_MS = 500;
/** Numbers of answers that have arrived which go with one request: the script names them in one command. */
const MOST_ARRIVED = 1_000;

export interface Requests extends AsyncDisposable {
  /**
   * Calls `request`, which is to give its script these two: the last key, and the last argument. `hasChanged`: whether the script keeps the
   * answer of this reply.
   */
  send(
    request: (answers: string, about: string) => Promise<unknown>,
    hasChanged: (reply: unknown) => boolean,
  ): Promise<unknown>;
}

/** Of one client to one queue. Disposing it deletes the answers. */
export function openRequests(redis: Redis, keys: Pick<QueueKeys, 'answers'>): Requests {
  const answers = keys.answers(randomUUID());
  let last = 0;
  let isKept = false;
  let arrived: number[] = [];
  return {
    send: async (request, hasChanged) => {
      const number = ++last;
      const about = [number, ...arrived.slice(0, MOST_ARRIVED)].join(' ');
      arrived = arrived.slice(MOST_ARRIVED);
      const reply = await request(answers, about);
      if (hasChanged(reply)) {
        isKept = true;
        arrived.push(number);
      }
      return reply;
    },
    [Symbol.asyncDispose]: async () => {
      if (isKept && redis.status === 'ready')
        await within(UNLINK_TIMEOUT_MS, redis.unlink(answers), 'UNLINK').catch(() => undefined);
    },
  };
}

/** One request alone. */
export async function requestOnce(
  redis: Redis,
  keys: Pick<QueueKeys, 'answers'>,
  ...[request, hasChanged]: Parameters<Requests['send']>
): Promise<unknown> {
  await using requests = openRequests(redis, keys);
  return await requests.send(request, hasChanged);
}
