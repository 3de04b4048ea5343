/**
 * `controller/decide/` takes a policy, a sample and a memory and returns a number of replicas, its reason and the next memory.
 * Pure: no Redis, no API server, no clock; of other folders it imports only `kube/workerpool.ts` and `runtime/duration.ts`.
 *
 * How many replicas a pool should have: numbers in, a number and a reason out, with no randomness, so that the controller,
 * `millrace dev` and `millrace simulate` run this same function.
 *
 * Two rules, and the larger wins. The target rule (target-wait/sizing.ts) keeps the wait of every task under `targetWaitMs`.
 * The plain rule wants ceil((waiting + in flight + due) / tasksPerReplica). Scale-up is immediate. Scale-down stops at the
 * highest need of the last `window` (window.ts), or, where the target rule decides and no window is set, at the replicas that
 * experience says are worth keeping; it does not wait for workers that hold tasks: those finish them first (act/scale-in.ts).
 * Memory is that window's falling edge and what was learned.
 *
 * After a restart without memory, the needs of the last window are unknown: the pool holds until a window has passed. A queue
 * that cannot be read is not an empty queue: the pool holds, and after `fallback.afterMs` is raised to its fallback, never
 * lowered.
 *
 * Whatever the input, the result is a whole number: a decision that is not one, or lies outside the bounds, is made again
 * without what was learned, which is forgotten (sanity.ts).
 */
import {
  DEFAULT_WINDOW_MS,
  noMemory,
  type Decision,
  type KnownSample,
  type Memory,
  type Policy,
  type Sample,
} from './decision.ts';
import { notAhead } from './clock-shift.ts';
import { paused, withoutSample } from './hold.ts';
import { limitStep } from './max-step.ts';
import { needOf, type Need, type PoolNow } from './need.ts';
import { numbersOf } from './numbers.ts';
import { describeBound, describeSaving, describeWork, seconds, TOO_FEW_FINISHED } from './reason.ts';
import { NONSENSE, soundDecision, soundSample } from './sanity.ts';
import { boundsAt } from './schedule.ts';
import { adviceWithoutSample } from './target-wait/sizing.ts';
import { startTime, withStarted } from './target-wait/start-time.ts';
import { highestNeed } from './window.ts';

/**
 * Decides for a pool that has `current` replicas now, of which `ready` are up. All times in ms. `now` is of the clock that
 * the memory is on, whose zero may be anywhere; it should be monotonic. `wall` counts from the epoch, for schedules and the
 * forecast. `parked`: replicas that are up beside these, and work as soon as they are wanted.
 */
export function decide(
  policy: Policy,
  sample: Sample,
  current: number,
  memory: Memory,
  now: number,
  ready = current,
  wall = now,
  parked = 0,
): Decision {
  const sound = soundSample(sample);
  const pool = { current, ready, parked, now, wall, bounds: boundsAt(policy, policy.schedules ?? [], wall) };
  return soundDecision(
    policy,
    current,
    () => decideOn(policy, sound, notAhead(memory, now), pool),
    () => decideOn(policy, sound, noMemory, pool),
    () => decideOn(policy, NONSENSE, noMemory, pool),
  );
}

function decideOn(policy: Policy, sample: Sample, memory: Memory, pool: PoolNow): Decision {
  const { current, now, bounds } = pool;
  const startMs = startTime((memory.learned ?? memory.starting)?.start, policy.targetWaitMs);
  const common = { bounds, decideAgainAt: bounds.until, startMs };
  if (policy.paused)
    return {
      ...common,
      ...paused(policy, sample, numbersOf(policy, bounds, sample, pool)),
      memory: noMemory,
    };
  const { since = now, inherited = current } = memory;
  if (sample.kind === 'unknown') {
    const blindFor = now - (memory.knownAt ?? since);
    const numbers = numbersOf(policy, bounds, sample, pool);
    return {
      ...common,
      ...withoutSample(policy, bounds, sample.why, numbers, blindFor),
      advice: adviceWithoutSample(policy.targetWaitMs, memory.learned, sample.redis, now),
      memory: { ...memory, since, inherited },
    };
  }
  const need = needOf(policy, sample, memory, pool);
  const choice = choose(policy, { ...memory, since, inherited }, pool, need);
  return decisionOf(policy, sample, { ...memory, since, inherited }, pool, need, choice);
}

/** The replicas to have, before limits on steps, and why. */
interface Choice {
  readonly wanted: number;
  readonly cause: 'ScaleUp' | 'ScaleDown' | 'Enough' | 'WithinWindow';
  /** Continues the reason, after what there is to do. */
  readonly why: string;
  /** What the window or experience keeps, where that was considered. */
  readonly kept?: number;
  /** It keeps them because too few tasks have finished. */
  readonly unsure?: true;
}

type Begun = Memory & { readonly since: number; readonly inherited: number };

function choose(policy: Policy, memory: Begun, pool: PoolNow, need: Need): Choice {
  const { current, now, bounds } = pool;
  if (need.replicas > current) return { wanted: need.replicas, cause: 'ScaleUp', why: '' };
  if (need.replicas === current) return { wanted: current, cause: 'Enough', why: '' };
  // the others are needed: the bound alone takes them, and has been named
  if (need.limited === 'max') return { wanted: need.replicas, cause: 'ScaleDown', why: '' };
  const { since, inherited } = memory;
  const isNew = now - since < (policy.windowMs ?? DEFAULT_WINDOW_MS);
  // a bound that the user lowered is no guess about the future: it applies immediately
  const needed = Math.max(need.replicas, highestNeed(need.needs), isNew ? Math.min(current, inherited) : 0);
  const most = Math.max(needed, need.sizing?.keep ?? 0);
  const kept = Math.min(most, bounds.maxReplicas);
  const patience = need.windowMs > 0 ? seconds(need.windowMs) : undefined;
  if (kept >= current) {
    const unsure = needed < current && need.sizing?.unsure === true;
    const but = unsure
      ? TOO_FEW_FINISHED
      : patience
        ? `not yet for ${patience}`
        : 'the others may be needed again soon';
    return {
      wanted: current,
      cause: 'WithinWindow',
      why: `; ${need.replicas} would do, but ${but}`,
      kept,
      ...(unsure && { unsure }),
    };
  }
  if (most > kept)
    return {
      wanted: kept,
      cause: 'ScaleDown',
      why: `; ${need.replicas} would do, and of the others ${describeBound('max', bounds)} allows no more`,
      kept: most,
    };
  return {
    wanted: kept,
    cause: 'ScaleDown',
    why: patience
      ? `; the last ${patience} needed no more`
      : `; the others were not needed for longer than a start is worth${describeSaving(need.sizing)}`,
    kept,
  };
}

/** Limits the step, and puts the decision together with its reason, its numbers and the memory after it. */
function decisionOf(
  policy: Policy,
  sample: KnownSample,
  memory: Begun,
  pool: PoolNow,
  need: Need,
  { wanted, cause, why, kept, unsure }: Choice,
): Decision {
  const { current, now, bounds } = pool;
  const { sizing, starting, plain, asked, limited, needs, windowMs } = need;
  const limits = { up: policy.maxStepUp, down: policy.maxStepDown };
  const { replicas: desired, changes } = limitStep(wanted, current, memory.changes ?? [], limits, now);
  const begun = policy.dryRun ? 0 : desired - current - pool.parked;
  const learned = sizing && withStarted(sizing.learned, begun, now);
  const work = describeWork(policy, sample, sizing) + (limited ? `, ${describeBound(limited, bounds)}` : '');
  const numbers = numbersOf(policy, bounds, sample, pool, sizing);
  return {
    desired,
    cause: desired === current && desired !== wanted ? 'WithinWindow' : cause,
    reason: `${desired === current ? current : `${current}→${desired}`}: ${work}${why}${desired === wanted ? '' : `, ${wanted} in steps`}`,
    limited,
    bounds,
    decideAgainAt: bounds.until,
    startMs: startTime((learned ?? starting)?.start, policy.targetWaitMs),
    advice: sizing?.advice,
    numbers: {
      ...numbers,
      asked,
      need: need.replicas,
      windowMs,
      ...(numbers.tasksPerReplica !== undefined && { plain }),
      wanted,
      ...(kept !== undefined && { kept }),
      ...(unsure && { unsure }),
    },
    memory: {
      since: memory.since,
      inherited: memory.inherited,
      knownAt: now,
      needs,
      changes: policy.dryRun ? (memory.changes ?? []) : changes,
      learned: learned ?? memory.learned,
      starting: starting && withStarted(starting, begun, now),
    },
  };
}
