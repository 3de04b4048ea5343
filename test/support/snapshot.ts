/** A server that goes back in time: all keys of one queue as they are, and the way back to that. */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';

/** Resolves to what brings the keys of a queue, those of these workers among them, back to how they are now. */
export async function snapshot(
  redis: Redis,
  keys: QueueKeys,
  workers: readonly string[],
): Promise<() => Promise<void>> {
  const names = Object.values(keys).flatMap((key: string | ((id: string) => string)) =>
    typeof key === 'string' ? [key] : workers.map(key),
  );
  const reading = redis.pipeline();
  for (const name of names) reading.dumpBuffer(name).pttl(name);
  const replies = ((await reading.exec()) ?? []).map(([, reply]) => reply);
  return async () => {
    const writing = redis.pipeline();
    for (const [i, name] of names.entries()) {
      const dump = replies[2 * i] as Buffer | null;
      writing.del(name);
      if (dump) writing.restore(name, Math.max(0, Number(replies[2 * i + 1])), dump);
    }
    for (const [error] of (await writing.exec()) ?? []) if (error) throw error;
  };
}
