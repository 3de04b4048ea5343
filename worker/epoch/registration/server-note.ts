/**
 * Keeps in the worker's hash which server its turns go to (note.lua): there, and only there, it means the worker's death that none of its
 * connections is open. It is noted once for each connection, when a turn was answered by it, so a worker that is never idle notes it, too.
 */
import type { Redis } from 'ioredis';

/** Returns what is to be called after each turn. `note` notes the server that executes it. */
export function createServerNote(redis: Redis, note: () => Promise<void>): () => void {
  let noted: Redis['stream'] | undefined;
  let noting = false;

  async function noteOnce(): Promise<void> {
    noting = true;
    const { stream } = redis;
    try {
      await note();
      // one that was replaced meanwhile may be that of another server
      if (redis.stream === stream) noted = stream;
    } catch {
      // the next turn tries again
    } finally {
      noting = false;
    }
  }

  return () => {
    if (!noting && redis.stream !== noted) void noteOnce();
  };
}
