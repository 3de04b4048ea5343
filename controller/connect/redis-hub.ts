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
  /** One for `address` beside that of another address, which `id` still uses, until it uses either of the two or is released. */
  prepare(id: string, address: RedisAddress): Sampler;
  /** The equal address of a sampler that is there already; `address` where there is none. */
  known(address: RedisAddress): RedisAddress;
  /** `id` no longer needs one. */
  release(id: string): void;
  readonly size: number;
}

interface Shared {
  readonly name: string;
  readonly address: RedisAddress;
  readonly sampler: Sampler;
  readonly users: Set<string>;
}

export function createRedisHub(open: (address: RedisAddress) => Sampler): RedisHub {
  const shared = new Map<string, Shared>();
  const usedBy = new Map<string, string>();
  const preparedFor = new Map<string, string>();
  const closing = new Set<Promise<void>>();

  function letGo(names: Map<string, string>, id: string): void {
    const name = names.get(id);
    const entry = name === undefined ? undefined : shared.get(name);
    names.delete(id);
    if (!entry || name === undefined) return;
    entry.sampler.remove(id);
    entry.users.delete(id);
    if (entry.users.size > 0) return;
    shared.delete(name);
    const closed = close(entry.sampler).finally(() => closing.delete(closed));
    closing.add(closed);
  }

  function take(names: Map<string, string>, id: string, name: string, address: RedisAddress): Sampler {
    const before = names.get(id);
    if (before !== undefined && before !== name) letGo(names, id);
    let entry = shared.get(name);
    if (!entry) {
      entry = { name, address, sampler: open(address), users: new Set() };
      shared.set(name, entry);
    }
    entry.users.add(id);
    names.set(id, entry.name);
    return entry.sampler;
  }

  function release(id: string): void {
    letGo(usedBy, id);
    letGo(preparedFor, id);
  }

  return {
    get size() {
      return shared.size;
    },
    use: (id, address) => {
      const name = nameOf(address);
      const sampler = take(usedBy, id, name, address);
      // the one that was prepared is in use now, or no longer wanted
      if (preparedFor.get(id) === name) preparedFor.delete(id);
      else letGo(preparedFor, id);
      return sampler;
    },
    prepare: (id, address) => take(preparedFor, id, nameOf(address), address),
    known: (address) => shared.get(nameOf(address))?.address ?? address,
    release,
    [Symbol.asyncDispose]: async () => {
      for (const id of [...usedBy.keys(), ...preparedFor.keys()]) release(id);
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
