/**
 * The wake in a Redis Cluster: one for each primary that has idle queues. Where a queue's slot is on another primary now, the queue
 * is reported, read again, and listened to there.
 *
 * Where a slot moves away, nothing reports a change of a tracked key that did not exist (seen in Redis 7.0.15 to 8.6.3 and Valkey
 * 9.1.2). So the primaries are asked for one key of each slot at intervals: one that has lost it replies MOVED.
 */
import calculateSlot from 'cluster-key-slot';
import { endpointName } from '../../queue/connection/address.ts';
import type { ClusterLinks } from '../../queue/connection/cluster/links.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import { interval } from '../../runtime/timers.ts';
import { createWake, WakeMode, type Armed, type Wake, type WakeOptions } from './wake.ts';

export interface ClusterWakeOptions extends WakeOptions {
  readonly links: Pick<ClusterLinks, 'ownerOf'>;
  readonly redisOf: RedisOf;
  readonly pollMs: number;
}

export interface ClusterWake extends Wake {
  /** These queues are on another primary now. */
  readonly moved: (queues: readonly string[]) => void;
}

/** A queue that is sampled. */
interface Place {
  readonly keys: QueueKeys;
  /** The primary that has it. */
  readonly node: string;
  /** Something listens to it. */
  armed: boolean;
  /** It could not be listened to: its slot is moving. */
  missed: boolean;
}

interface NodeWake {
  readonly wake: Wake;
  /** The queues that are there. */
  readonly queues: Set<string>;
}

interface ClusterWakeState {
  readonly options: ClusterWakeOptions;
  /** By the name of the primary. */
  readonly wakes: Map<string, NodeWake>;
  readonly places: Map<string, Place>;
  readonly closing: Set<Promise<void>>;
}

export function createClusterWake(options: ClusterWakeOptions): ClusterWake {
  const { links, onWake, pollMs } = options;
  const state: ClusterWakeState = { options, wakes: new Map(), places: new Map(), closing: new Set() };
  const timer = interval(pollMs, () => check(state));
  return {
    listening: async (queues) => {
      const nodes = new Set(queues.flatMap((keys) => placeOf(state, keys)?.node ?? []));
      await Promise.all(Array.from(nodes, (node) => wakeAt(state, node).wake.listening(queues)));
    },
    get mode() {
      return worstOf(Array.from(state.wakes.values(), ({ wake }) => wake.mode));
    },
    arm: (keys) => arm(state, keys),
    watch: async (watched) => {
      const [first] = watched;
      const owner = first && links.ownerOf(first.question.key);
      return owner && (await state.wakes.get(endpointName(owner))?.wake.watch(watched));
    },
    forget: ({ queue }) => forget(state, queue),
    moved: (queues) => {
      for (const queue of queues) {
        forget(state, queue);
        onWake(queue);
      }
    },
    [Symbol.asyncDispose]: async () => {
      timer.clear();
      state.places.clear();
      await Promise.all([...state.closing, ...Array.from(state.wakes.values(), ({ wake }) => close(wake))]);
    },
  };
}

/** Asks for one key of each slot that is listened to, and has the queues read that could not be listened to. */
function check({ options: { redisOf, onWake }, places }: ClusterWakeState): void {
  const slots = new Map<number, QueueKeys>();
  const missed: string[] = [];
  for (const [queue, place] of places) {
    if (place.armed) slots.set(calculateSlot(queue), place.keys);
    if (place.missed) missed.push(queue);
    place.missed = false;
  }
  for (const keys of slots.values())
    redisOf(keys)
      .llen(keys.queue)
      .catch(() => undefined);
  for (const queue of missed) onWake(queue);
}

function wakeAt({ options, wakes }: ClusterWakeState, name: string): NodeWake {
  const known = wakes.get(name);
  if (known) return known;
  const queues = new Set<string>();
  const wake = createWake({
    ...options,
    address: { ...options.address, cluster: undefined, url: `redis://${name}` },
    onWake: (queue) => {
      for (const one of queue === undefined ? queues : [queue]) options.onWake(one);
    },
  });
  const created = { wake, queues };
  wakes.set(name, created);
  return created;
}

/** Where the queue is now; `undefined` while that is not known. */
function placeOf(state: ClusterWakeState, keys: QueueKeys): Place | undefined {
  const owner = state.options.links.ownerOf(keys.queue);
  if (!owner) return undefined;
  const node = endpointName(owner);
  const known = state.places.get(keys.queue);
  if (known?.node === node) return known;
  forget(state, keys.queue);
  const place = { keys, node, armed: false, missed: false };
  state.places.set(keys.queue, place);
  wakeAt(state, node).queues.add(keys.queue);
  return place;
}

async function arm(state: ClusterWakeState, keys: QueueKeys): Promise<Armed | undefined> {
  const place = placeOf(state, keys);
  if (!place) return undefined;
  place.armed = true;
  try {
    return await wakeAt(state, place.node).wake.arm(keys);
  } catch (error) {
    place.missed = true;
    throw error;
  }
}

function forget(state: ClusterWakeState, queue: string): void {
  const { wakes, places, closing } = state;
  const before = places.get(queue);
  if (!before) return;
  places.delete(queue);
  const { wake, queues } = wakeAt(state, before.node);
  wake.forget(before.keys);
  queues.delete(queue);
  if (queues.size > 0) return;
  wakes.delete(before.node);
  const closed = close(wake).finally(() => closing.delete(closed));
  closing.add(closed);
}

/** Of all primaries, the mode that notices the least. */
function worstOf(modes: readonly WakeMode[]): WakeMode {
  const worst = [WakeMode.Polling, WakeMode.BlockingPeek].find((mode) => modes.includes(mode));
  return worst ?? (modes.length > 0 ? WakeMode.Tracking : WakeMode.Polling);
}

async function close(wake: Wake): Promise<void> {
  await wake[Symbol.asyncDispose]();
}
