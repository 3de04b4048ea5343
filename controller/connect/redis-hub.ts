/**
 * One sampler per Redis server, shared by all of its pools and closed with the last one. Servers are distinguished by their
 * complete address: another user or password is another connection.
 */
import { hash } from 'node:crypto';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import type { Sampler } from '../sample/sampler.ts';

export interface RedisHub extends AsyncDisposable {
  /** The sampler for `address`, which `id` uses from now on instead of its previous one. */
  use(id: string, address: RedisAddress): Sampler;
  /** `id` no longer needs one. */
  release(id: string): void;
  readonly size: number;
}

export function createRedisHub(open: (address: RedisAddress) => Sampler): RedisHub {
  const shared = new Map<string, { sampler: Sampler; users: Set<string> }>();
  const usedBy = new Map<string, string>();
  const closing = new Set<Promise<void>>();

  function release(id: string): void {
    const name = usedBy.get(id);
    const entry = name === undefined ? undefined : shared.get(name);
    usedBy.delete(id);
    if (!entry || name === undefined) return;
    entry.sampler.remove(id);
    entry.users.delete(id);
    if (entry.users.size > 0) return;
    shared.delete(name);
    const closed = close(entry.sampler).finally(() => closing.delete(closed));
    closing.add(closed);
  }

  return {
    get size() {
      return shared.size;
    },
    use: (id, address) => {
      const name = nameOf(address);
      if (usedBy.get(id) !== name) release(id);
      let entry = shared.get(name);
      if (!entry) {
        entry = { sampler: open(address), users: new Set() };
        shared.set(name, entry);
      }
      entry.users.add(id);
      usedBy.set(id, name);
      return entry.sampler;
    },
    release,
    [Symbol.asyncDispose]: async () => {
      for (const id of usedBy.keys()) release(id);
      await Promise.all(closing);
    },
  };
}

async function close(sampler: Sampler): Promise<void> {
  await sampler[Symbol.asyncDispose]();
}

/** A hash, because the address contains secrets and the name may end up in a log or a heap dump. */
function nameOf(address: RedisAddress): string {
  return hash('sha256', JSON.stringify(address), 'base64');
}
