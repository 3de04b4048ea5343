/**
 * `controller/connect/` takes a pool's spec and the Secrets that it names and returns the sampler of its Redis. It does not
 * know what is read there.
 *
 * Resolves a pool's address, including Secrets, to the sampler of its Redis, and caches it for a while.
 */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Redis } from 'ioredis';
import { queuesOf, type WorkerPool, type WorkerPoolSpec } from '../../kube/workerpool.ts';
import { keyOf } from '../../kube/watch.ts';
import type { HostGuard } from '../../queue/connection/address.ts';
import { addressName, type RedisAddress } from '../../queue/connection/connection.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import type { Source } from '../../queue/sources/source.ts';
import type { SourceSpec } from '../../kube/source-spec.ts';
import { compactKeys } from '../../queue/compact-keys.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { locationOf } from '../../queue/location.ts';
import { partitionedKeys } from '../../queue/partitions.ts';
import { levelKeys, type Level } from '../../queue/priorities.ts';
import type { Clock } from '../../runtime/clock.ts';
import { resolveAddress } from './address.ts';
import { beginTrial, isTrialOver, type Trial } from './credential-trial.ts';
import { levelsBefore, withWantedLevels, type Levels } from './levels.ts';
import {
  addedLists,
  isPartitioned,
  partitionsBefore,
  textOf,
  wantedPartitions,
  withWanted,
  type Partitions,
} from './partitions.ts';
import type { QueueLink } from '../sample/sampler.ts';
import type { RedisHub } from './redis-hub.ts';
import type { SharedSecrets } from './shared-secrets.ts';

export interface ConnectDeps {
  readonly secrets: SharedSecrets;
  readonly hub: RedisHub;
  /** Checks the hosts that pools name; without one, all are allowed. */
  readonly guard: HostGuard | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Secrets change without notice: they are read again at this interval, and at the shorter one while Redis is unreachable. */
const ADDRESS_MS = 60_000;
const ADDRESS_TROUBLE_MS = 5_000;
/** Of the digest of an address. */
const PLACE_BYTES = 8;

/** The link to a pool's queues, with the spec and address that it was made from. */
export interface Linked {
  /** The pool's uid and generation, and the numbers of partitions and the priorities that are served. */
  readonly of: string;
  readonly address: RedisAddress;
  readonly at: number;
  readonly link: QueueLink;
  /** The spec that the link's source was created from. */
  readonly source: SourceSpec | undefined;
}

/** The state of this stage for a pool, from one reconcile to the next. */
export interface ConnectState {
  linked: Linked | undefined;
  /** Of credentials that have replaced those of `linked` in the Secrets. */
  trial: Trial | undefined;
  /** Of the pool's queue; `undefined` until it is connected. */
  partitions: Partitions | undefined;
  /** Likewise. */
  levels: Levels | undefined;
  /** Priorities that it serves no more, until clients cannot find them any more. */
  goneLevels: readonly Level[];
  /** Those that samples show and it does not serve, joined, and the connection on which these were asked about. */
  strayLevels: { readonly shown: string; readonly on: Redis['stream'] | undefined };
  /** Lists that the pool begins to serve, until it is known whether they are to be paused. */
  added: ReadonlySet<string>;
  /** The last reconcile had no sample of the queue. */
  blind: boolean;
}

/** Never changed, only replaced. */
const NO_LISTS: ReadonlySet<string> = new Set();
const NO_LEVELS: readonly Level[] = [];
const NO_STRAYS = { shown: '', on: undefined };

export function initialConnectState(): ConnectState {
  return {
    linked: undefined,
    trial: undefined,
    partitions: undefined,
    levels: undefined,
    goneLevels: NO_LEVELS,
    strayLevels: NO_STRAYS,
    added: NO_LISTS,
    blind: true,
  };
}

/** Forgets the address: the next reconcile resolves it again. */
export function disconnect(state: ConnectState): void {
  const { partitions, levels, goneLevels, added } = state;
  Object.assign(state, { ...initialConnectState(), partitions, levels, goneLevels, added });
}

/**
 * The link stays the same object while the pool's spec and the contents of its Secrets do, and for some time longer while Redis does
 * not accept the contents of new ones. Rejects with `MissingSecret` if the
 * address names one that does not exist, with `RangeError` for an invalid source, and if the API server fails.
 */
export async function connectPool(
  { secrets, hub, guard, clock, signal }: ConnectDeps,
  pool: WorkerPool,
  state: ConnectState,
): Promise<QueueLink> {
  const { metadata, spec } = pool;
  const known = state.partitions;
  const partitions = withWanted(known ?? partitionsBefore(pool), wantedPartitions(spec));
  state.partitions = partitions;
  const added = addedLists(pool, known, partitions);
  if (added.length > 0) state.added = new Set([...state.added, ...added]);
  const levels = withWantedLevels(state.levels ?? levelsBefore(pool), spec);
  state.levels = levels;
  // joined: see `keyOf`
  const lists = [textOf(partitions.served), levels.served.join(',')];
  const of = [metadata.uid, metadata.generation, ...lists].join(' ');
  const before = state.linked?.of === of ? state.linked : undefined;
  const age = clock.elapsed() - (before?.at ?? -Infinity);
  const over = isTrialOver(state.trial, clock);
  const maxAge = state.blind || state.trial ? ADDRESS_TROUBLE_MS : ADDRESS_MS;
  if (before && age <= maxAge && !over) return before.link;
  const found = await resolveAddress(spec.redis, metadata.namespace, secrets(maxAge), signal);
  // one object for all pools of a Redis
  const wanted = hub.known({ ...found, ...(guard ? { guard } : {}) });
  const address = addressNow({ hub, clock }, pool, state, wanted);
  const at = clock.elapsed();
  if (before && isDeepStrictEqual(before.address, address)) {
    if (!state.trial) hub.use(keyOf(pool), address);
    state.linked = { ...before, at };
    return before.link;
  }
  const there = (keys: QueueKeys): QueueKeys => compactKeys(locationOf(address, keys).keys);
  const queues = before?.link.queues ?? keysOf(spec, partitions, levels).map(there);
  const source = sourceFor(spec.source, state.linked);
  const key = keyOf(pool);
  const sampler = hub.use(key, address);
  sampler.add(key, queues, source);
  // one sample is enough until the first step finds that the queues are active
  sampler.setActive(key, false, 0);
  const several = isPartitioned(partitions)
    ? { partitions: partitions.served }
    : levels.served.length > 0 && { levels: levels.served };
  const records = several && { records: there(queueKeys(spec.queue, spec.result)) };
  const link = { sampler, queues, source, place: placeOf(address), ...several, ...records };
  state.linked = { of, address, at, link, source: spec.source };
  return link;
}

/** `wanted`, or the address before while new credentials are on trial. */
function addressNow(
  deps: Pick<ConnectDeps, 'hub' | 'clock'>,
  pool: WorkerPool,
  state: ConnectState,
  wanted: RedisAddress,
): RedisAddress {
  const { linked } = state;
  // a pool that was created again has nothing of the one before
  const before = linked?.of.startsWith(`${pool.metadata.uid} `) ? linked : undefined;
  state.trial = before && beginTrial(deps, { key: keyOf(pool), before, wanted, running: state.trial });
  return before && state.trial ? before.address : wanted;
}

function placeOf(address: RedisAddress): string {
  return createHash('sha256').update(addressName(address)).digest().toString('hex', 0, PLACE_BYTES);
}

function keysOf(spec: WorkerPoolSpec, partitions: Partitions, { served }: Levels): QueueKeys[] {
  if (isPartitioned(partitions)) return partitionedKeys(spec.queue, spec.result, partitions.served);
  const [first, ...others] = queuesOf(spec).map((queue) => queueKeys(queue, spec.result));
  if (!first) return [];
  return [first, ...others, ...served.map((level) => levelKeys(first, level))];
}

/** The same object while its settings are the same, so that the sampler keeps it. */
function sourceFor(spec: SourceSpec | undefined, before: Linked | undefined): Source | undefined {
  if (!spec) return undefined;
  return isDeepStrictEqual(before?.source, spec) ? before?.link.source : sourceOf(spec);
}
