/** Where a queue is: on one server, or in a Redis Cluster, where its result hash may be on another one. Pure. */
import calculateSlot from 'cluster-key-slot';
import type { Redis } from 'ioredis';
import type { RedisAddress } from './connection/connection.ts';
import { resultApart, type QueueKeys } from './keys.ts';

/** Where the keys of a queue are, and how to connect to them. */
export interface QueueLocation {
  /** Of the server that has the queue and all that belongs to it. */
  readonly address: RedisAddress;
  /** Their `result` is in the queue's slot: the user's hash, unless that is in `results`. */
  readonly keys: QueueKeys;
  /** The result hash in a slot of its own: its key, and the server that has it. */
  readonly results?: { readonly address: RedisAddress; readonly key: string };
}

/** The place of a queue at an address: without a cluster, all keys are on one server. */
export function locationOf(address: RedisAddress, keys: QueueKeys): QueueLocation {
  const { cluster } = address;
  if (!cluster) return { address, keys };
  const at = (key: string): RedisAddress => ({ ...address, cluster: { ...cluster, key } });
  const own = { address: at(keys.queue), keys };
  if (calculateSlot(keys.queue) === calculateSlot(keys.result)) return own;
  return { ...own, keys: resultApart(keys), results: { address: at(keys.result), key: keys.result } };
}

/** The connection to the server of a queue: the same one for all queues, unless they are in a Redis Cluster. */
export type RedisOf = (keys: QueueKeys) => Redis;
