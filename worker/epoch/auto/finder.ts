/**
 * `worker/epoch/auto/` takes how long tasks run with so many slots and returns how many slots to have, and why. It knows neither
 * queues nor Redis.
 *
 * How many slots: `hi` slots are worth it over `lo` if the tasks of `hi` take less than √(hi/lo) times as long, i.e. if at least half, in
 * logarithms, of what the slots add comes out as throughput. The number at which that ends has the largest ratio of throughput to the time of a task,
 * known as power (Kleinrock, "Power and deterministic rules of thumb for probabilistic problems in computer communications",
 * 1979). With c cores and tasks that compute, it is c; with tasks that wait, the maximum.
 *
 * Two numbers are compared by spells of full slots, in turns, until the difference is clear beside its standard error or not worth
 * more time: `base, trial, trial, base, base, trial …`. It begins with steps of a factor of two, narrows them where they fail in both
 * directions, and then rests, to try again ever more rarely. What it knows is thus of the last tasks, never of those of long ago. Without
 * tasks for all slots nothing is known, and the number stays. Pure; times are arguments.
 */
import type { ConcurrencyBounds } from '../../../runtime/concurrency.ts';
import type { Comparison, FinderState, Found, Observation, Why } from './finder-state.ts';
import {
  addSpells,
  allFailed,
  emptySpell,
  isEmpty,
  slowdown,
  slowdownOfTimes,
  success,
  type Spell,
} from './spell.ts';

const FIRST_FACTOR = 2;
const LAST_FACTOR = 1.25;
/** Slots count as full up to this share that is free. */
const FREE_SHARE = 0.15;
/** Shorter spells are not judged to be free, ms: a turn is on its way. */
const JUDGED_AFTER_MS = 250;
/** A trial ends if its slots are not full for this long, ms. */
const TRIAL_WAIT_MS = 5_000;
const MAX_VOIDS = 4;
/** Tasks of the smaller number of slots in the first spell, and the least number of tasks of a slot. */
const FIRST_TASKS = 6;
const FIRST_ROUNDS = 2;
const MAX_ROUNDS = 64;
/** Share of its tasks whose end ends a spell. */
const ENOUGH = 0.85;
/** Standard errors from which on a difference is clear: after the first two spells, and later. */
const CLEAR_AT_FIRST = 3;
const CLEAR = 2.5;
const SEEMS_BETTER = 1;
/** A comparison ends without a result after so many spells, or so long, ms. */
const MIN_SPELLS = 6;
const MAX_SPELLS = 12;
const MAX_COMPARING_MS = 15 * 60_000;
/** Rests, ms; at least so many times as long as a comparison took. */
const FIRST_REST_MS = 60_000;
const MAX_REST_MS = 30 * 60_000;
const REST_PER_COMPARISON = 5;
const RETRY_MS = 10_000;
const REST_PAIRS = 2;
/** A task that takes this many times as long or as short as when it last rested ends the rest. */
const CHANGED = Math.log(1.5);
/** No more slots while this share of the memory limit is in use, and none on trial above the second. */
const MEMORY_FULL = 0.75;
const MEMORY_SHORT = 0.9;

export function startFinder(bounds: ConcurrencyBounds, level: number, now: number): FinderState {
  return {
    bounds,
    level: clamp(level, bounds),
    why: { kind: 'begins' },
    factor: FIRST_FACTOR,
    finest: LAST_FACTOR,
    climbing: true,
    up: undefined,
    down: undefined,
    deadly: undefined,
    comparison: undefined,
    known: undefined,
    restedAt: undefined,
    restMs: FIRST_REST_MS,
    restsUntil: -Infinity,
    setAt: now,
  };
}

/** How many slots are in force. */
export function slotsOf({ level, comparison }: FinderState): number {
  return comparison && isTrialNow(comparison) ? comparison.trial : level;
}

/** The next state. Call it once `enoughTasks` of the sample have ended, and a few times a second. */
export function find(state: FinderState, seen: Observation): Found {
  const slots = slotsOf(state);
  if (!seen.begun) return isTrialStuck(state, seen) ? giveUp(state, seen) : stay(state);
  if (isAborted(state, seen)) return settle(state, seen, 'worse', measured(state, seen));
  const ended = seen.spell.tasks + seen.spell.failed >= enoughTasks(state);
  if (ended || seen.lastedMs >= JUDGED_AFTER_MS) {
    if (seen.busyMs < (1 - FREE_SHARE) * slots * seen.lastedMs) return voided(state, seen);
  }
  if (!ended) return stay(state);
  const whole = { ...seen, spell: withRunning(seen) };
  return state.comparison ? compare(state, state.comparison, whole) : restOrTry(state, whole);
}

/**
 * How many tasks of its sample end a spell: not all, as one may take for ever. Those that still run then count as if they ended now, so that
 * long tasks are not left out.
 */
export function enoughTasks(state: FinderState): number {
  return Math.ceil(ENOUGH * sampleSize(state));
}

/** How many tasks, the first that begin in it, a spell is judged by. */
export function sampleSize(state: FinderState): number {
  const { comparison } = state;
  const pair = comparison
    ? ordered(state.level, comparison.trial)
    : (pairAhead(state) ?? ordered(state.level, state.level));
  // both spells of a pair have as many tasks for each slot
  const rounds = Math.max(FIRST_ROUNDS, Math.ceil(FIRST_TASKS / pair.lo));
  // what has changed at rest is not to be seen in a few tasks
  const pairs = comparison
    ? Math.floor(comparison.spells / 2)
    : state.restMs > FIRST_REST_MS
      ? REST_PAIRS
      : 0;
  return slotsOf(state) * Math.min(MAX_ROUNDS, rounds * 2 ** pairs);
}

// base, trial, trial, base, base, trial: after the first one, two at a time
function isTrialNow({ spells }: Comparison): boolean {
  return Math.floor((spells + 1) / 2) % 2 === 1;
}

/** What has ended in the spell, with what runs as if it ended now, and failed as often. */
function withRunning({ spell, running }: Observation): Spell {
  const returned = isEmpty(spell) ? 1 : spell.tasks / (spell.tasks + spell.failed);
  return addSpells(spell, {
    tasks: running.tasks * returned,
    failed: running.tasks * (1 - returned),
    roots: running.roots * returned,
    ms: running.ms * returned,
  });
}

function stay(state: FinderState): Found {
  return { state, fresh: false };
}

function begin(state: FinderState, now: number): Found {
  return { state: { ...state, setAt: now }, fresh: true };
}

/** While fewer slots are tried, all others must become free first, which may take as long as tasks run. */
function isTrialStuck({ comparison, setAt }: FinderState, { now, overfull }: Observation): boolean {
  return comparison !== undefined && !overfull && now - setAt > TRIAL_WAIT_MS;
}

/** Slots were free: this spell says nothing. */
function voided(state: FinderState, seen: Observation): Found {
  const { comparison } = state;
  if (!comparison) return begin(state, seen.now);
  const voids = comparison.voids + 1;
  if (voids > MAX_VOIDS) return giveUp(state, seen);
  return begin({ ...state, comparison: { ...comparison, voids } }, seen.now);
}

/** There is not enough to do. */
function giveUp(state: FinderState, { now }: Observation): Found {
  const why: Why = state.why.kind === 'begins' ? { kind: 'unused' } : state.why;
  return begin({ ...state, why, comparison: undefined, known: undefined, restsUntil: now + RETRY_MS }, now);
}

/** Of more slots: what has run and runs shows that tasks take longer by more than the slots are more, or memory is short. */
function isAborted({ level, comparison }: FinderState, seen: Observation): boolean {
  if (!comparison || !isTrialNow(comparison) || comparison.trial < level) return false;
  if ((seen.memory ?? 0) > MEMORY_SHORT) return true;
  const { log, error } = slowdown(comparison.base, withRunning(seen));
  return log - CLEAR_AT_FIRST * error > Math.log(comparison.trial / level);
}

/** What the trial has shown so far, with the tasks that still run as if they ended now. */
function measured({ comparison }: FinderState, seen: Observation): Measure | undefined {
  const { memory = 0 } = seen;
  if (!comparison) return undefined;
  if (memory > MEMORY_SHORT) return { kind: 'memory', used: memory };
  return measureOf(comparison.base, addSpells(comparison.tried, withRunning(seen)));
}

type Measure =
  | { readonly kind: 'memory'; readonly used: number }
  /** From the smaller to the larger number, or from the base where only that is known. */
  | {
      readonly kind: 'tasks';
      readonly times: number;
      readonly failed: number;
      readonly failedBefore: number;
    };

function measureOf(lo: Spell, hi: Spell): Measure {
  return {
    kind: 'tasks',
    times: slowdownOfTimes(lo, hi),
    failed: 1 - success(hi),
    failedBefore: 1 - success(lo),
  };
}

function compare(state: FinderState, before: Comparison, seen: Observation): Found {
  const isTrial = isTrialNow(before);
  const comparison: Comparison = {
    ...before,
    spells: before.spells + 1,
    ...(isTrial
      ? { tried: addSpells(before.tried, seen.spell) }
      : { base: addSpells(before.base, seen.spell) }),
  };
  const next = { ...state, comparison };
  const { level } = state;
  const { trial, base, tried, spells, beganAt } = comparison;
  if (isEmpty(tried)) return begin(next, seen.now);
  const [lo, hi] = trial > level ? [base, tried] : [tried, base];
  const slower = slowdown(lo, hi);
  const limit = Math.log(Math.max(trial, level) / Math.min(trial, level)) / 2;
  const clear = (limit - slower.log) / slower.error;
  const measure = measureOf(lo, hi);
  if (Math.abs(clear) >= (spells <= 2 ? CLEAR_AT_FIRST : CLEAR)) {
    const better = clear > 0 === trial > level;
    return settle(next, seen, better ? 'better' : 'worse', measure);
  }
  if (state.climbing && trial > level && clear >= SEEMS_BETTER) return settle(next, seen, 'better', measure);
  const isOver = spells >= MAX_SPELLS || (spells >= MIN_SPELLS && seen.now - beganAt >= MAX_COMPARING_MS);
  return isOver ? settle(next, seen, 'unclear', measure) : begin(next, seen.now);
}

type Verdict = 'better' | 'worse' | 'unclear';

/** Ends a comparison: the trial is the level now, or was in vain. */
function settle(
  state: FinderState,
  seen: Observation,
  verdict: Verdict,
  measure: Measure | undefined,
): Found {
  const { comparison, level } = state;
  if (!comparison) return stay(state);
  const { trial, tried, beganAt } = comparison;
  const why = whyAfter(state, comparison, verdict, measure);
  const tookMs = seen.now - beganAt;
  // where tasks differ much, only large steps show anything
  const finest =
    verdict === 'unclear'
      ? Math.min(FIRST_FACTOR, state.factor ** 2)
      : Math.max(LAST_FACTOR, Math.sqrt(state.finest));
  if (verdict === 'better') {
    const moved = {
      ...state,
      level: trial,
      comparison: undefined,
      known: tried,
      why,
      finest,
      restMs: FIRST_REST_MS,
    };
    const tested = trial > level ? { down: level } : { up: level };
    return goOn({ ...moved, ...tested }, seen, tookMs);
  }
  const side = trial > level ? { up: trial } : { down: trial };
  // the next comparison takes a spell of its own, as what was measured before may have changed
  const next = { ...state, comparison: undefined, known: undefined, why, finest, climbing: false, ...side };
  return goOn(next, seen, tookMs);
}

/** The reason to give: it names what is above, which is why there are not more slots. */
function whyAfter(
  { level, bounds, why }: FinderState,
  { trial }: Comparison,
  verdict: Verdict,
  measure: Measure | undefined,
): Why {
  if (measure?.kind === 'memory') return measure;
  const hi = Math.max(trial, level);
  const lo = Math.min(trial, level);
  const { times = 1, failed = 0, failedBefore = 0 } = measure ?? {};
  const hiIsBetter = verdict !== 'unclear' && (verdict === 'better') === trial > level;
  if (verdict === 'unclear') return trial > level ? { kind: 'unclear', at: trial } : why;
  if (!hiIsBetter)
    return failed - failedBefore > 0.1
      ? { kind: 'failing', at: hi, failed }
      : { kind: 'slower', at: hi, times };
  return hi === bounds.max ? { kind: 'max', from: lo, times } : trial > level ? { kind: 'begins' } : why;
}

/** Continues after a comparison: with the next one, with a smaller step where all was tried, and at last with a rest. */
function goOn(state: FinderState, seen: Observation, tookMs: number): Found {
  const { now } = seen;
  let next = state;
  for (;;) {
    const pair = pairAhead(next);
    if (pair) {
      const hindrance = pair.trial > next.level ? hindranceOf(next, pair.trial, seen) : undefined;
      if (!hindrance) return tryNext(next, pair.trial, now);
      next = hindered(next, pair.trial, hindrance);
    } else if (next.factor > next.finest) next = narrowed(next);
    else break;
  }
  const restMs = Math.min(MAX_REST_MS, Math.max(next.restMs, REST_PER_COMPARISON * tookMs));
  const rested = {
    factor: next.finest,
    up: undefined,
    down: undefined,
    restedAt: undefined,
    restMs: Math.min(MAX_REST_MS, 2 * next.restMs),
  };
  return begin({ ...next, ...rested, restsUntil: now + restMs }, now);
}

function narrowed(state: FinderState): FinderState {
  return { ...state, factor: Math.max(state.finest, Math.sqrt(state.factor)) };
}

function hindered(state: FinderState, trial: number, why: Why): FinderState {
  return { ...state, up: trial, why };
}

/** Begins a comparison with the spell that is known of the level; without one, that comes first. */
function tryNext(state: FinderState, trial: number, now: number): Found {
  const { known } = state;
  if (!known || isEmpty(known)) return begin(state, now);
  const comparison = { trial, beganAt: now, base: known, tried: emptySpell, spells: 1, voids: 0 };
  return begin({ ...state, comparison }, now);
}

/** Why there may not be more slots now. */
function hindranceOf(
  { level, deadly, known }: FinderState,
  trial: number,
  { now, memory = 0 }: Observation,
): Why | undefined {
  // what refuses all of these tasks is not sent more of them
  if (known && allFailed(known)) return { kind: 'failing', at: level, failed: 1 };
  if (deadly && trial >= deadly.at && now < deadly.until) return { kind: 'died', at: deadly.at };
  return memory > MEMORY_FULL ? { kind: 'memory', used: memory } : undefined;
}

/** The next two numbers to compare: first upwards. Where all tasks fail, the least is compared, as a little less might fail as well. */
function pairAhead(
  state: FinderState,
): { readonly lo: number; readonly hi: number; readonly trial: number } | undefined {
  const { level, bounds, factor, up, down, known } = state;
  const above = clamp(Math.max(level + 1, Math.round(level * factor)), bounds);
  const less = known && allFailed(known) ? bounds.min : Math.round(level / factor);
  const below = clamp(Math.min(level - 1, less), bounds);
  if (above > level && (up === undefined || above < up)) return { lo: level, hi: above, trial: above };
  if (below < level && (down === undefined || below > down)) return { lo: below, hi: level, trial: below };
  return undefined;
}

function ordered(one: number, other: number): { readonly lo: number; readonly hi: number } {
  return { lo: Math.min(one, other), hi: Math.max(one, other) };
}

/** A spell of the level has ended, and nothing is compared. */
function restOrTry(before: FinderState, seen: Observation): Found {
  const { now, spell } = seen;
  if (isEmpty(spell)) return begin(before, now);
  const rests = now < before.restsUntil;
  const changed = rests && before.restedAt !== undefined && hasChanged(before.restedAt, spell);
  // a part of the spell may be from before the change
  const again = {
    known: undefined,
    restsUntil: now,
    factor: FIRST_FACTOR,
    restMs: FIRST_REST_MS,
    restedAt: undefined,
  };
  if (changed) return begin({ ...before, ...again, up: undefined, down: undefined }, now);
  const state = { ...before, known: spell, restedAt: rests ? (before.restedAt ?? spell) : undefined };
  return rests ? begin(state, now) : goOn(state, seen, 0);
}

function hasChanged(before: Spell, now: Spell): boolean {
  // no number of failures is clear beside its error
  if (allFailed(before) || allFailed(now)) return success(before) > 0.5 !== success(now) > 0.5;
  const { log, error } = slowdown(before, now);
  return Math.abs(log) > CHANGED + CLEAR_AT_FIRST * error;
}

function clamp(slots: number, { min, max }: ConcurrencyBounds): number {
  return Math.min(Math.max(slots, min), max);
}
