/**
 * Requests that break their connection. ioredis resends unanswered commands each time a connection breaks; a server that
 * closes the connection *because of* a request (one over a limit of its own, or of a proxy in front of it) would receive that
 * request forever, and everything behind it never. Here such a request is abandoned after a few attempts.
 */
import type { Redis } from 'ioredis';
import { insideOf } from './ioredis-internals.ts';

/** The connection was lost each time that this request was sent. */
export class ConnectionDropped extends Error {
  override name = 'ConnectionDropped';
}

export interface Drops {
  /** Calls `send`; rejects with `ConnectionDropped` when the connection broke `times` times before a reply arrived. */
  guard<T>(send: () => Promise<T>): Promise<T>;
}

/**
 * Watches a client for its whole life. Attempts that never connected do not count: then the server is down. Other pending
 * commands are rejected along with an abandoned request, as they are when a connection is closed.
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
