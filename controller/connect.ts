/** From a pool's spec to the sampler of its Redis: resolves the address, Secrets and all, and keeps it for a while. */
import type { KubeApi } from '../kube/api.ts';
import { queuesOf, type WorkerPool } from '../kube/workerpool.ts';
import { keyOf } from '../kube/watch.ts';
import { queueKeys } from '../queue/keys.ts';
import type { Clock } from '../runtime/clock.ts';
import { resolveAddress } from './address.ts';
import type { QueueLink } from './memory-store.ts';
import type { RedisHub } from './redis-hub.ts';
import type { Remembered } from './remembered.ts';

export interface ConnectDeps {
  readonly api: KubeApi;
  readonly hub: RedisHub;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Secrets may change without a word: they are read again this often, and at once when Redis is unreachable. */
const ADDRESS_MS = 60_000;
const ADDRESS_TROUBLE_MS = 5_000;

/** Rejects with `MissingSecret` where the address names one that is not there, and when the API server fails. */
export async function connectPool(
  { api, hub, clock, signal }: ConnectDeps,
  pool: WorkerPool,
  state: Pick<Remembered, 'address' | 'blind'>,
): Promise<QueueLink> {
  const { redis, result } = pool.spec;
  const key = keyOf(pool);
  const of = JSON.stringify(redis);
  const fresh = state.address?.of === of ? clock.now() - state.address.at : Infinity;
  if (fresh > (state.blind ? ADDRESS_TROUBLE_MS : ADDRESS_MS)) {
    const value = await resolveAddress(redis, pool.metadata.namespace, api.secrets, signal);
    state.address = { value, of, at: clock.now() };
  }
  if (!state.address) throw new Error(`pool ${key} has no address`);
  const queues = queuesOf(pool.spec).map((queue) => queueKeys(queue, result));
  const sampler = hub.use(key, state.address.value);
  sampler.add(key, queues);
  return { sampler, queues };
}
