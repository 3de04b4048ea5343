/**
 * Requests that end their connection. ioredis sends again what had no answer when a connection broke, as often as it
 * breaks; a server that closes the connection *because of* a request (one over a limit of its own, or of a proxy before
 * it) gets that request for ever, and everything behind it never. Here such a request is given up after some times.
 */
import type { Redis } from 'ioredis';
import { insideOf } from './ioredis-internals.ts';

/** The connection was lost each time that this request was sent. */
export class ConnectionDropped extends Error {
  override name = 'ConnectionDropped';
}

export interface Drops {
  /** Sends; rejects with `ConnectionDropped` when the connection broke so many times before there was an answer. */
  guard<T>(send: () => Promise<T>): Promise<T>;
}

/**
 * Watches a connection for as long as that lives. Connections that were never made do not count: then the server is away.
 * What else waits on the connection when a request is given up is rejected as well, as it is when one is closed.
 */
export function watchDrops(redis: Redis, times = 3): Drops {
  const pending = new Set<{ drops: number }>();
  let ready = redis.status === 'ready';
  redis.on('ready', () => (ready = true));
  redis.on('close', () => {
    if (!ready) return;
    ready = false;
    let most = 0;
    for (const request of pending) most = Math.max(most, ++request.drops);
    if (most < times) return;
    const text = `the connection was closed ${times} times in a row on this request, without an answer`;
    insideOf(redis).flushQueue(new ConnectionDropped(text));
  });
  return {
    guard: async (send) => {
      const request = { drops: 0 };
      pending.add(request);
      try {
        return await send();
      } finally {
        pending.delete(request);
      }
    },
  };
}
