/**
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
import type { Advice, Answers } from './target-wait/advice.ts';
import { paused, withoutSample } from './hold.ts';
import { keptApart } from './suspects.ts';
import type { Pause } from './pause.ts';
import { numbersOf, type Numbers } from './numbers.ts';
import { paced, type Change, type MaxStep } from './max-step.ts';
import { boundsAt, type Bounds, type BoundsNow, type Schedule } from './schedule.ts';
import { learnStarts, startTime, withStarted, type Starts } from './target-wait/service-time.ts';
import type { Counters, Learned, Look } from './target-wait/learned.ts';
import { plainRule } from './tasks-per-replica.ts';
import { boundWords, seconds, workWords } from './reason.ts';
import { adviceWithoutLook, size, type Sizing } from './target-wait/sizing.ts';
import { notAhead } from './clock-shift.ts';
import { NONSENSE, soundDecision, soundSample } from './sanity.ts';

export interface Policy {
  readonly minReplicas: number;
  readonly maxReplicas: number;
  /** The plain rule; `undefined`: with 5, and only without a target or while the target rule knows too little. */
  readonly tasksPerReplica: number | undefined;
  /** The target rule; without it only the plain rule decides. */
  readonly targetWaitMs?: number | undefined;
  /** Tasks at once in each replica; 1 when it is not said. */
  readonly slots?: number;
  /** `undefined`: what the target rule learns, and 60 s for the plain rule. */
  readonly windowMs: number | undefined;
  readonly fallback: { readonly afterMs: number; readonly replicas: number } | undefined;
  readonly paused: boolean;
  /** What paused it, where that is not its mode. */
  readonly pause?: Pause;
  readonly schedules?: readonly Schedule[];
  readonly maxStepUp?: MaxStep;
  readonly maxStepDown?: MaxStep;
  /** Whether a daily or weekly pattern may raise the floor. */
  readonly forecast?: boolean;
  /** What it decides is not done: nothing of it is on its way afterwards. */
  readonly dryRun?: boolean;
}

export type Sample = (
  | {
      readonly kind: 'known';
      readonly waiting: number;
      readonly inFlight: number;
      readonly due: number;
      /** Workers that are to drain. */
      readonly leaving: number;
      /** Delayed tasks that fall due while a replica starts, without those that are due. */
      readonly dueSoon?: number;
      /** Of the waiting, those that run beside nothing but their fellows; of them, those that run alone. */
      readonly suspects?: number;
      readonly solitary?: number;
      /** Workers that hold suspects, and the tasks in flight there. */
      readonly apart?: { readonly workers: number; readonly tasks: number };
      /** Without them, only the plain rule can decide. */
      readonly counters?: Counters;
    }
  | { readonly kind: 'unknown'; readonly why: string }
) & { readonly redis?: Answers | undefined };

export interface Memory {
  /** When this memory began, ms; `undefined` before the first sample. */
  readonly since: number | undefined;
  /** Replicas that there were when it began: what was needed before is not known. */
  readonly inherited?: number;
  /** When a sample was last known, ms. */
  readonly knownAt: number | undefined;
  /** Needs of the window, oldest first, each smaller than the one before it. */
  readonly needs: readonly { readonly at: number; readonly replicas: number }[];
  readonly learned?: Learned | undefined;
  /** How long replicas take to start, where the target rule does not learn it with all else. */
  readonly starting?: Starts | undefined;
  /** Changes that limits on steps still count. */
  readonly changes?: readonly Change[];
}

export const noMemory: Memory = { since: undefined, knownAt: undefined, needs: [] };

export type Cause = 'ScaleUp' | 'ScaleDown' | 'Enough' | 'WithinWindow' | 'Unknown' | 'Fallback' | 'Paused';

export interface Decision {
  readonly desired: number;
  readonly cause: Cause;
  /** The decision in words, `0→3: 12 waiting, 0 in flight, 5 tasks a replica`. */
  readonly reason: string;
  /** The bound that kept `desired` from what the work asks for. */
  readonly limited: 'min' | 'max' | undefined;
  /** The bounds that hold now, and the schedules that are on. */
  readonly bounds: BoundsNow;
  /** When to decide again at the latest, even where nothing happens: ms since the epoch. */
  readonly lookAt: number | undefined;
  /** How long a replica takes to start, as far as it is known, ms: delayed tasks count when they fall due within it. */
  readonly startMs: number;
  /** Why the target cannot be held, and what to change. */
  readonly advice?: Advice | undefined;
  /** What went into it. */
  readonly numbers: Numbers;
  readonly memory: Memory;
  /** What came of the memory that had to be forgotten to decide at all, such as `NaN replicas`. */
  readonly forgot?: string | undefined;
}

export const DEFAULT_WINDOW_MS = 60_000;

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

/** Adds a need and drops what it overtakes and what is older than the window: what is first is the window's highest. */
function remember(needs: Memory['needs'], replicas: number, at: number, windowMs: number): Memory['needs'] {
  const kept = needs.filter((need) => need.at > at - windowMs && need.replicas > replicas);
  return [...kept, { at, replicas }];
}

/** The most tasks at once. */
function slotsOf({ slots = 1 }: Policy, { maxReplicas }: Bounds): number {
  return slots * maxReplicas;
}

function clamp(replicas: number, { minReplicas, maxReplicas }: Bounds): number {
  return Math.min(Math.max(replicas, minReplicas), maxReplicas);
}
