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
import { createWake, WakeMode, type Wake, type WakeOptions } from './wake.ts';

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

export function createClusterWake(options: ClusterWakeOptions): ClusterWake {
  const { address, links, redisOf, onWake, pollMs } = options;
  const wakes = new Map<string, NodeWake>();
  const places = new Map<string, Place>();
  const closing = new Set<Promise<void>>();
  const timer = interval(pollMs, check);

  function check(): void {
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

  function wakeAt(name: string): NodeWake {
    const known = wakes.get(name);
    if (known) return known;
    const queues = new Set<string>();
    const wake = createWake({
      ...options,
      address: { ...address, cluster: undefined, url: `redis://${name}` },
      onWake: (queue) => {
        for (const one of queue === undefined ? queues : [queue]) onWake(one);
      },
    });
    const created = { wake, queues };
    wakes.set(name, created);
    return created;
  }

  /** Where the queue is now; `undefined` while that is not known. */
  function placeOf(keys: QueueKeys): Place | undefined {
    const owner = links.ownerOf(keys.queue);
    if (!owner) return undefined;
    const node = endpointName(owner);
    const known = places.get(keys.queue);
    if (known?.node === node) return known;
    forget(keys.queue);
    const place = { keys, node, armed: false, missed: false };
    places.set(keys.queue, place);
    wakeAt(node).queues.add(keys.queue);
    return place;
  }

  function forget(queue: string): void {
    const before = places.get(queue);
    if (!before) return;
    places.delete(queue);
    const { wake, queues } = wakeAt(before.node);
    wake.forget(before.keys);
    queues.delete(queue);
    if (queues.size > 0) return;
    wakes.delete(before.node);
    const closed = close(wake).finally(() => closing.delete(closed));
    closing.add(closed);
  }

  return {
    listening: async (queues) => {
      const nodes = new Set(queues.flatMap((keys) => placeOf(keys)?.node ?? []));
      await Promise.all(Array.from(nodes, (node) => wakeAt(node).wake.listening(queues)));
    },
    get mode() {
      const modes = Array.from(wakes.values(), ({ wake }) => wake.mode);
      const worst = [WakeMode.Polling, WakeMode.BlockingPeek].find((mode) => modes.includes(mode));
      return worst ?? (modes.length > 0 ? WakeMode.Tracking : WakeMode.Polling);
    },
    arm: async (keys) => {
      const place = placeOf(keys);
      if (!place) return undefined;
      place.armed = true;
      try {
        return await wakeAt(place.node).wake.arm(keys);
      } catch (error) {
        place.missed = true;
        throw error;
      }
    },
    watch: async (watched) => {
      const [first] = watched;
      const owner = first && links.ownerOf(first.question.key);
      return owner && (await wakes.get(endpointName(owner))?.wake.watch(watched));
    },
    forget: ({ queue }) => forget(queue),
    moved: (queues) => {
      for (const queue of queues) {
        forget(queue);
        onWake(queue);
      }
    },
    [Symbol.asyncDispose]: async () => {
      timer.clear();
      places.clear();
      await Promise.all([...closing, ...Array.from(wakes.values(), ({ wake }) => close(wake))]);
    },
  };
}

async function close(wake: Wake): Promise<void> {
  await wake[Symbol.asyncDispose]();
}
