/**
 * `controller/decide/` takes a policy, a sample and a memory and returns a number of replicas, its reason and the next
 * memory. Pure: no Redis, no API server, no clock; of other folders it imports only `kube/workerpool.ts` and
 * `runtime/duration.ts`.
 *
 * How many replicas a pool should have: numbers in, a number and a reason out. No I/O, no clock, no randomness, so
 * that the controller, `millrace dev` and `millrace simulate` run this same function.
 *
 * Two rules, and the larger wins. The target rule (target-wait/sizing.ts) keeps the wait of every task under `targetWaitMs`. The plain
 * rule wants ceil((waiting + in flight + due) / tasksPerReplica). Up at once; down only to what the last `window` needed at
 * its highest, or, where the target rule decides and no window is set, to what experience says is worth keeping; even where
 * more workers hold tasks: those finish them first (act/scale-in.ts). Memory is the falling edge of that window (older needs that
 * no newer one has reached) and what was learned.
 *
 * After a restart without memory nothing is known of the last window: the pool holds until one has passed.
 * A queue that cannot be read is not an empty queue: the pool holds, and after `fallback.afterMs` is raised to its
 * fallback, never lowered.
 *
 * Whatever goes in, a whole number comes out: a decision that is none, or lies outside of the bounds, is made again without
 * what was learned, which is forgotten.
 */
import { paused, withoutSample } from './hold.ts';
import { keptApart } from './suspects.ts';
import { numbersOf } from './numbers.ts';
import { paced } from './max-step.ts';
import { boundsAt, type Bounds } from './schedule.ts';
import { learnStarts, startTime, withStarted } from './target-wait/start-time.ts';
import type { Look } from './target-wait/learned.ts';
import { plainRule } from './tasks-per-replica.ts';
import { boundWords, seconds, workWords } from './reason.ts';
import { adviceWithoutLook, size, type Sizing } from './target-wait/sizing.ts';
import { notAhead } from './clock-shift.ts';
import { NONSENSE, soundDecision, soundSample } from './sanity.ts';
import {
  noMemory,
  DEFAULT_WINDOW_MS,
  type Policy,
  type Sample,
  type Memory,
  type Cause,
  type Decision,
} from './decision.ts';
import { remember } from './window.ts';

/**
 * Decides for a pool that has `current` replicas now, of which `ready` are up. All times in ms. `now` is of the clock that
 * the memory is on, whose zero may be anywhere; it should be monotonic. `wall` counts from the epoch, for schedules and the
 * forecast.
 */
export function decide(
  policy: Policy,
  sample: Sample,
  current: number,
  memory: Memory,
  now: number,
  ready = current,
  wall = now,
): Decision {
  const seen = soundSample(sample);
  const decideWith = (known: Memory, on = seen): Decision =>
    decideOn(policy, on, current, known, now, ready, wall);
  return soundDecision(
    policy,
    current,
    () => decideWith(notAhead(memory, now)),
    () => decideWith(noMemory),
    () => decideWith(noMemory, NONSENSE),
  );
}

function decideOn(
  policy: Policy,
  sample: Sample,
  current: number,
  memory: Memory,
  now: number,
  ready: number,
  wall: number,
): Decision {
  const since = memory.since ?? now;
  const inherited = memory.inherited ?? current;
  const bounds = boundsAt(policy, policy.schedules ?? [], wall);
  const there = { current, ready };
  const startMs = startTime((memory.learned ?? memory.starting)?.start, policy.targetWaitMs);
  const rest = { bounds, lookAt: bounds.until, startMs };
  if (policy.paused)
    return { ...rest, ...paused(policy, sample, numbersOf(policy, bounds, sample, there)), memory: noMemory };
  if (sample.kind === 'unknown') {
    const blindFor = now - (memory.knownAt ?? since);
    const numbers = numbersOf(policy, bounds, sample, there);
    const held = withoutSample(policy, bounds, sample.why, numbers, blindFor);
    const advice = adviceWithoutLook(policy.targetWaitMs, memory.learned, sample.redis, now);
    return { ...rest, ...held, advice, memory: { ...memory, since, inherited } };
  }

  const sizing = sizingFor(policy, bounds, sample, memory, { now, wall, wanted: current, ready });
  const starting = sizing ? undefined : learnStarts(memory.starting, current, ready, now);
  const plain = plainRule(
    policy,
    sample,
    sizing?.needed !== undefined,
    sizing?.learning ? slotsOf(policy, bounds) : Infinity,
  );
  const asked = Math.max(sizing?.needed ?? 0, sizing?.sure ?? 0, sizing?.floor ?? 0, plain);
  const need = clamp(asked, bounds);
  const limited = need < asked ? 'max' : need > asked ? 'min' : undefined;
  const windowMs = policy.windowMs ?? (sizing?.needed === undefined ? DEFAULT_WINDOW_MS : 0);
  // a minimum is no need: what it held goes when it is lowered
  const needs = remember(memory.needs, Math.min(asked, bounds.maxReplicas), now, windowMs);
  const work = workWords(policy, sample, sizing) + (limited ? `, ${boundWords(limited, bounds)}` : '');
  const numbers = { ...numbersOf(policy, bounds, sample, there, sizing), asked, need, windowMs };
  const decision = (wanted: number, cause: Cause, why: string, kept?: number): Decision => {
    const limits = { up: policy.maxStepUp, down: policy.maxStepDown };
    const { replicas: desired, changes } = paced(wanted, current, memory.changes ?? [], limits, now);
    const begun = policy.dryRun ? 0 : desired - current;
    const learned = sizing && withStarted(sizing.learned, begun, now);
    return {
      desired,
      cause: desired === current && desired !== wanted ? 'WithinWindow' : cause,
      reason: `${desired === current ? current : `${current}→${desired}`}: ${work}${why}${desired === wanted ? '' : `, ${wanted} in steps`}`,
      limited,
      ...rest,
      advice: sizing?.advice,
      startMs: startTime((learned ?? starting)?.start, policy.targetWaitMs),
      numbers: {
        ...numbers,
        ...(numbers.tasksPerReplica !== undefined && { plain }),
        wanted,
        ...(kept !== undefined && { kept }),
      },
      memory: {
        since,
        inherited,
        knownAt: now,
        needs,
        changes: policy.dryRun ? (memory.changes ?? []) : changes,
        learned: learned ?? memory.learned,
        starting: starting && withStarted(starting, begun, now),
      },
    };
  };

  if (need > current) return decision(need, 'ScaleUp', '');
  if (need === current) return decision(current, 'Enough', '');
  // a bound that the user lowered is no guess about the future: it holds at once
  const highest = Math.min(
    Math.max(
      need,
      needs[0]?.replicas ?? 0,
      sizing?.keep ?? 0,
      now - since < (policy.windowMs ?? DEFAULT_WINDOW_MS) ? Math.min(current, inherited) : 0,
    ),
    bounds.maxReplicas,
  );
  const patience = windowMs > 0 ? seconds(windowMs) : undefined;
  if (highest >= current)
    return decision(
      current,
      'WithinWindow',
      patience
        ? `; ${need} would do, but not yet for ${patience}`
        : `; ${need} would do, but the others may be needed again soon`,
      highest,
    );
  return decision(
    highest,
    'ScaleDown',
    patience
      ? `; the last ${patience} needed no more`
      : '; the others were not needed for longer than a start is worth',
    highest,
  );
}

function sizingFor(
  policy: Policy,
  bounds: Bounds,
  sample: Sample & { kind: 'known' },
  { learned }: Memory,
  there: Pick<Look, 'now' | 'wall' | 'wanted' | 'ready'>,
): Sizing | undefined {
  const { targetWaitMs: waitMs, slots = 1, windowMs, forecast = false } = policy;
  const { waiting, inFlight, due, dueSoon = 0, counters, redis } = sample;
  if (waitMs === undefined || !counters) return undefined;
  const wish = { waitMs, slots, windowMs, forecast, ...bounds };
  const kept = keptApart(sample, slots);
  const work = { waiting: waiting + kept.waiting, inFlight: inFlight + kept.inFlight, due, dueSoon };
  return size(wish, { ...there, ...work, counters }, learned, redis);
}

/** The most tasks at once. */
function slotsOf({ slots = 1 }: Policy, { maxReplicas }: Bounds): number {
  return slots * maxReplicas;
}

function clamp(replicas: number, { minReplicas, maxReplicas }: Bounds): number {
  return Math.min(Math.max(replicas, minReplicas), maxReplicas);
}
