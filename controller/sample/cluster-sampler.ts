/**
 * Samples queues of a Redis Cluster: a sampler for each slot that has queues, connected to the primary that has the slot today,
 * and for each pool one sample of what is known of all its queues.
 */
import calculateSlot from 'cluster-key-slot';
import { mergeSamples, type PoolSample } from '../../queue/pool/pool-sample.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { locationOf } from '../../queue/location.ts';
import { interval } from '../../runtime/timers.ts';
import { notYet, type Sampled } from './sampled.ts';
import { createSampler, type Sampler, type SamplerOptions } from './sampler.ts';
import { WakeMode } from './wake.ts';

/** A sampler for the servers at an address, which may be a cluster. */
export function openSampler(options: SamplerOptions): Sampler {
  return options.address.cluster ? createClusterSampler(options) : createSampler(options);
}

/** The sampler of one slot. */
interface SlotSampler {
  readonly sampler: Sampler;
  /** Of a queue in the slot. */
  readonly keys: QueueKeys;
  readonly ids: Set<string>;
}

function createClusterSampler(options: SamplerOptions): Sampler {
  const { address, onSample, pollMs = 1_000 } = options;
  const slots = new Map<number, SlotSampler>();
  /** The slots of each id's queues. */
  const slotsOf = new Map<string, ReadonlySet<number>>();
  const closing = new Set<Promise<void>>();
  const timer = interval(pollMs, findMoved);

  /**
   * Where a slot moves away, nothing reports a change of a tracked key that did not exist (seen in Redis 7.0.15 to 8.6.3 and Valkey
   * 9.1.2), and an idle queue would stay unnoticed until its next read. The reply to any command shows it, and the connection
   * then goes to the new primary.
   */
  function findMoved(): void {
    for (const { sampler, keys } of slots.values())
      sampler
        .redisOf(keys)
        .llen(keys.queue)
        .catch(() => undefined);
  }

  function slotSampler(keys: QueueKeys): SlotSampler {
    const slot = calculateSlot(keys.queue);
    let found = slots.get(slot);
    if (!found) {
      const own = { ...options, address: locationOf(address, keys).address };
      const sampler = createSampler({
        ...own,
        onSample: (id, woken) => slotsOf.has(id) && onSample(id, woken),
      });
      found = { sampler, keys, ids: new Set() };
      slots.set(slot, found);
    }
    return found;
  }

  function leave(id: string, slot: number): void {
    const left = slots.get(slot);
    left?.sampler.remove(id);
    left?.ids.delete(id);
    if (!left || left.ids.size > 0) return;
    slots.delete(slot);
    const closed = close(left.sampler).finally(() => closing.delete(closed));
    closing.add(closed);
  }

  const of = (id: string): Sampler[] =>
    Array.from(slotsOf.get(id) ?? [], (slot) => slots.get(slot)?.sampler ?? []).flat();
  const all = (): Sampler[] => Array.from(slots.values(), ({ sampler }) => sampler);

  return {
    pollMs,
    redisOf: (keys) => slotSampler(keys).sampler.redisOf(keys),
    get wakeMode() {
      const modes = all().map(({ wakeMode }) => wakeMode);
      const worst = [WakeMode.Polling, WakeMode.BlockingPeek].find((mode) => modes.includes(mode));
      return worst ?? (modes.length > 0 ? WakeMode.Tracking : WakeMode.Polling);
    },
    get evictionRisk() {
      return all().find(({ evictionRisk }) => evictionRisk !== undefined)?.evictionRisk;
    },
    add: (id, queues) => {
      const bySlot = Map.groupBy(queues, ({ queue }) => calculateSlot(queue));
      const before = slotsOf.get(id) ?? new Set();
      slotsOf.set(id, new Set(bySlot.keys()));
      for (const slot of before) if (!bySlot.has(slot)) leave(id, slot);
      for (const [, own] of bySlot) {
        const [first] = own;
        if (!first) continue;
        const { sampler, ids } = slotSampler(first);
        ids.add(id);
        sampler.add(id, own);
      }
    },
    remove: (id) => {
      const before = slotsOf.get(id) ?? new Set();
      slotsOf.delete(id);
      for (const slot of before) leave(id, slot);
    },
    latest: (id) => merge(of(id).map((sampler) => sampler.latest(id))),
    setActive: (id, active, horizonMs) => {
      for (const sampler of of(id)) sampler.setActive(id, active, horizonMs);
    },
    [Symbol.asyncDispose]: async () => {
      timer.clear();
      slotsOf.clear();
      await Promise.all([...closing, ...all().map(close)]);
      slots.clear();
    },
  };
}

/** Unknown while any part is; woken when one of them was. */
function merge(parts: readonly Sampled[]): Sampled {
  const samples: PoolSample[] = [];
  for (const part of parts) {
    if (part.kind === 'unknown') return part;
    samples.push(part.sample);
  }
  const [first] = parts;
  if (first?.kind !== 'known') return notYet;
  if (samples.length === 1) return first;
  const sample = mergeSamples(samples);
  const slowest = parts.reduce((a, b) => ((b.redis?.roundTripMs ?? 0) > (a.redis?.roundTripMs ?? 0) ? b : a));
  const { wokenAt, quietUntil } = lastWoken(parts);
  return {
    kind: 'known',
    sample,
    ...(slowest.redis && { redis: slowest.redis }),
    ...(wokenAt !== undefined && { wokenAt }),
    ...(quietUntil !== undefined && { quietUntil }),
  };
}

/** Of the wake, only if all other parts are empty still. */
function lastWoken(parts: readonly Sampled[]): {
  wokenAt?: number | undefined;
  quietUntil?: number | undefined;
} {
  const busy = parts.filter(
    (part) => part.kind === 'known' && part.sample.waiting + part.sample.inFlight > 0,
  );
  const [only, ...others] = busy;
  return only?.kind === 'known' && others.length === 0 ? only : {};
}

async function close(sampler: Sampler): Promise<void> {
  await sampler[Symbol.asyncDispose]();
}
