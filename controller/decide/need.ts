/** How many replicas the two rules ask for now: the larger of both, within the bounds. Pure. */
import { DEFAULT_WINDOW_MS, type KnownSample, type Memory, type Policy } from './decision.ts';
import type { Bounds, BoundsNow } from './schedule.ts';
import { keptApart } from './suspects.ts';
import { plainRule } from './tasks-per-replica.ts';
import { size, type Sizing } from './target-wait/sizing.ts';
import { learnStarts, type Starts } from './target-wait/start-time.ts';
import { slideWindow, type Needs } from './window.ts';

/** The pool at the time of the decision. */
export interface PoolNow {
  readonly current: number;
  readonly ready: number;
  /** Up beside these, and at work as soon as they are wanted: they have no start. */
  readonly parked: number;
  readonly now: number;
  readonly wall: number;
  readonly bounds: BoundsNow;
}

/** What the rules ask for, before anything that was needed earlier counts. */
export interface Need {
  /** By the plain rule, and by the larger of both rules. */
  readonly plain: number;
  readonly asked: number;
  /** `asked` within the bounds, and the bound that changed it. */
  readonly replicas: number;
  readonly limited: 'min' | 'max' | undefined;
  /** The window that holds replicas, ms; 0: experience does. And the needs in it, this one included. */
  readonly windowMs: number;
  readonly needs: Needs;
  /** Without a target, only the starts of replicas are learned. */
  readonly sizing: Sizing | undefined;
  readonly starting: Starts | undefined;
}

export function needOf(policy: Policy, sample: KnownSample, memory: Memory, pool: PoolNow): Need {
  const { current, ready, parked, now, bounds } = pool;
  const sizing = sizingFor(policy, sample, memory, pool);
  const mostTasks = sizing?.learning ? slotsOf(policy, bounds) : Infinity;
  const plain = plainRule(policy, sample, sizing?.needed !== undefined, mostTasks);
  const asked = Math.max(sizing?.needed ?? 0, sizing?.sure ?? 0, sizing?.floor ?? 0, plain);
  const replicas = clamp(asked, bounds);
  const windowMs = policy.windowMs ?? (sizing?.needed === undefined ? DEFAULT_WINDOW_MS : 0);
  return {
    plain,
    asked,
    replicas,
    limited: replicas < asked ? 'max' : replicas > asked ? 'min' : undefined,
    windowMs,
    // a minimum is no need: the replicas that it held go when it is lowered
    needs: slideWindow(memory.needs, Math.min(asked, bounds.maxReplicas), now, windowMs),
    sizing,
    starting: sizing ? undefined : learnStarts(memory.starting, current + parked, ready + parked, now),
  };
}

function sizingFor(policy: Policy, sample: KnownSample, memory: Memory, pool: PoolNow): Sizing | undefined {
  const { targetWaitMs: waitMs, slots = 1, windowMs, forecast = false } = policy;
  const { waiting, inFlight, due, dueSoon = 0, quietUntil, counters, redis } = sample;
  const { current: wanted, ready, parked, now, wall, bounds } = pool;
  if (waitMs === undefined || !counters) return undefined;
  const wish = { waitMs, slots, windowMs, forecast, ...bounds };
  const apart = keptApart(sample, slots);
  const work = { waiting: waiting + apart.waiting, inFlight: inFlight + apart.inFlight, due, dueSoon };
  const seen = { now, wall, wanted, ready, parked, ...work, quietUntil, counters };
  return size(wish, seen, memory.learned, redis);
}

/** The most tasks that can run at the same time. */
function slotsOf({ slots = 1 }: Policy, { maxReplicas }: Bounds): number {
  return slots * maxReplicas;
}

function clamp(replicas: number, { minReplicas, maxReplicas }: Bounds): number {
  return Math.min(Math.max(replicas, minReplicas), maxReplicas);
}
