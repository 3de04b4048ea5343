/**
 * What keeping replicas for longer has cost. How many starts a kept replica saves depends on how tasks come, which no gap tells:
 * two where a burst comes at once, one where it builds up (docs/policy.md). So the pool's own arrivals are replayed as they come,
 * on two pools that exist in numbers only: in one a start is worth what it may save at most, in the other what it saves at least.
 * Both use the ordinary rule on tasks that all take the mean. What the second has saved decides for the real pool, as long as
 * little of its work is late and its tasks are alike enough for sums: otherwise, the first does.
 *
 * Costs fade by what they add up to, not by time: a pool that rests forgets nothing. Pure.
 */
import { lazyDemand, type CurvePoint } from './arrivals.ts';
import { withNeed } from './keep-warm.ts';
import type { Learned, SizingInput, SizingPolicy } from './learned.ts';
import { keptFor, neededFor } from './needed.ts';
import type { Replay, Replays } from './replay-state.ts';
import type { LearnedService } from './service-time.ts';
import { leastWorthOfStart, START_COST_MS, worthOfStart, type Starting } from './start-time.ts';

/** Starts that the costs are worth, before they decide anything, and at most. */
const LEAST_STARTS = 20;
const MOST_STARTS = 400;
/** The short replay is followed once it has saved more starts than the root of their number, until it saves less than this part. */
const FEW = 0.01;
/** Share of late tasks, and standard deviations of the service time in means, up to which it is. */
const LATE = 0.0005;
const ALIKE = 2;
/** Where slots are given up soon, more must be sure to suffice: standard deviations. */
export const SHORT_CAUTION = 4;
/** Parts of a task that are none. */
const ROUNDING = 1e-6;
/** Between two samples of an active pool, ms. */
const LOOK_MS = 1_000;
/** An idle pool is sampled this often at least; what happened in a longer gap is unknown, ms. */
const LONGEST_MS = 60_000;

interface Setting {
  readonly wish: SizingPolicy;
  readonly now: number;
  /** The last sample before this one, ms. */
  readonly since: number;
  readonly learned: Learned;
  readonly service: LearnedService;
  readonly startMs: number;
  /** The lazy demand, which is the same in both replays. */
  readonly lazySlots: number;
}

/** What a start is worth, ms, and the caution with which slots are given up. */
export interface Keeping {
  readonly worth: number;
  readonly releaseCaution?: number;
  /** What keeping replicas for longer would have cost more, as a part of the cost. */
  readonly longerCosts?: number;
}

/** How long replicas are to be kept, by what the replays have cost. */
export function keepingBy(
  replays: Replays | undefined,
  { over }: Pick<Learned, 'over'>,
  { mean, variance }: LearnedService,
  startMs: number,
  waitMs: number,
): Keeping {
  if (!replays?.shorter || over > LATE || variance > (ALIKE * mean) ** 2)
    return { worth: worthOfStart(startMs, waitMs) };
  return {
    worth: leastWorthOfStart(startMs, waitMs),
    releaseCaution: SHORT_CAUTION,
    longerCosts: replays.long.cost / replays.short.cost - 1,
  };
}

/** After a sample; `undefined` where there is nothing to choose, or starts cost less than is known here. */
export function withReplays(
  before: Pick<Learned, 'replays' | 'at' | 'curve'> | undefined,
  wish: SizingPolicy,
  { now, parked = 0 }: Pick<SizingInput, 'now' | 'parked'>,
  learned: Learned,
  service: LearnedService,
  startMs: number,
): Replays | undefined {
  const worth = worthOfStart(startMs, wish.waitMs);
  const least = leastWorthOfStart(startMs, wish.waitMs);
  if (!before || parked > 0 || wish.windowMs !== undefined || least >= worth) return undefined;
  const since = Math.max(before.at, now - LONGEST_MS);
  const lazySlots = lazyDemand(learned.curve, now, service.mean, wish.waitMs);
  const setting = { wish, now, since, learned, service, startMs, lazySlots };
  const old = (before.curve.length > 0 && before.replays) || begun(learned);
  const long = stepped(old.long, setting, worth);
  const short = stepped(old.short, setting, least, SHORT_CAUTION);
  if (long === old.long && short === old.short) return old;
  const unit = START_COST_MS + startMs;
  const fade = Math.min(1, (MOST_STARTS * unit) / Math.max(long.cost, short.cost, 1));
  const count = long.cost / unit;
  const saved = count - short.cost / unit;
  const worthIt = old.shorter ? saved >= FEW * count : saved > Math.sqrt(count);
  return {
    long: { ...long, cost: long.cost * fade },
    short: { ...short, cost: short.cost * fade },
    shorter: count >= LEAST_STARTS && worthIt,
  };
}

function begun({ ready, starts, curve, idle, inFlight }: Learned): Replays {
  const served = (curve.at(-1)?.taken ?? 0) - inFlight;
  const replay = { up: ready, starts, served, needs: idle.needs, cost: 0 };
  return { long: replay, short: replay, shorter: false };
}

/** The same pool at the next sample: what it has done since, and what the rule makes of it. */
function stepped(before: Replay, setting: Setting, worth: number, releaseCaution?: number): Replay {
  const { wish, now, since, learned, service, startMs, lazySlots } = setting;
  const { curve, idle } = learned;
  const { arrived } = curve.at(-1) as CurvePoint;
  const quiet = quietUntil(before, setting);
  if (quiet === now && before.up <= wish.minReplicas) return before;
  const { up, starts, served, cost } = worked(idled(before, setting, quiet, worth), setting, quiet);
  // a task that is not quite finished holds a slot
  const tasks = Math.ceil(arrived - served - ROUNDING);
  const inFlight = Math.min(tasks, up * wish.slots);
  const wanted = up + total(starts);
  const seen = { now, wanted, inFlight, waiting: tasks - inFlight, due: 0, dueSoon: 0 };
  const pool = { curve, ready: up, starts };
  const asked = neededFor(wish, seen, pool, service, startMs, releaseCaution, lazySlots);
  const need = Math.min(Math.max(asked, wish.minReplicas), wish.maxReplicas);
  const { needs } = withNeed({ needs: before.needs, gaps: [] }, need, now, since);
  const kept = keptFor(undefined, { now, wanted }, { needs, gaps: idle.gaps }, worth);
  const next = Math.max(need, Math.min(wanted, kept));
  if (next <= wanted) return { ...released(up, starts, wanted - next), served, needs, cost };
  const more = { at: now, replicas: next - wanted };
  return { up, starts: [...starts, more], served, needs, cost: cost + START_COST_MS * more.replicas };
}

/** Until when it had nothing to do since the last sample. */
function quietUntil({ served, starts }: Replay, { now, since, learned: { curve } }: Setting): number {
  const last = curve.at(-1) as CurvePoint;
  const previous = curve.at(-2) ?? last;
  if (starts.length > 0 || previous.arrived - served > ROUNDING) return since;
  return last.arrived - served > ROUNDING ? Math.max(since, previous.at) : now;
}

/** Without a task, the real pool may not have been sampled for long: replicas have gone as soon as they were not worth keeping. */
function idled(before: Replay, { wish, since, learned }: Setting, until: number, worth: number): Replay {
  const idle = { needs: before.needs, gaps: learned.idle.gaps };
  let { up, cost } = before;
  for (let at = since; at < until && up > 0; at += LOOK_MS) {
    const kept = at > since ? keptFor(undefined, { now: at, wanted: up }, idle, worth) : up;
    up = Math.max(Math.min(up, wish.minReplicas), Math.min(up, kept));
    cost += up * Math.min(LOOK_MS, until - at);
  }
  return { ...before, up, cost };
}

/** What it did from `since` on: first the tasks that it had, then those that came, for half of the time on average. */
function worked(before: Replay, { wish, now, learned, service, startMs }: Setting, since: number): Replay {
  const elapsed = now - since;
  const came = before.starts.filter(({ at }) => at + startMs <= now);
  const upMs = came.reduce(
    (sum, { at, replicas }) => sum + replicas * Math.min(elapsed, now - at - startMs),
    before.up * elapsed,
  );
  const up = before.up + total(came);
  const last = learned.curve.at(-1) as CurvePoint;
  const previous = learned.curve.at(-2) ?? last;
  const tasksOf = (ms: number): number => (ms * wish.slots) / service.mean;
  const old = Math.min(tasksOf(upMs), Math.max(0, previous.arrived - before.served));
  const fresh = Math.min(tasksOf(upMs) - old, tasksOf((up * (now - previous.at)) / 2));
  return {
    up,
    starts: before.starts.filter(({ at }) => at + startMs > now),
    served: Math.min(last.arrived, before.served + old + fresh),
    needs: before.needs,
    cost: before.cost + elapsed * (before.up + total(before.starts)),
  };
}

function released(up: number, starts: readonly Starting[], count: number): Pick<Replay, 'up' | 'starts'> {
  const left = [...starts];
  let excess = count;
  while (excess > 0 && left.length > 0) {
    const { at, replicas } = left.pop() as Starting;
    if (replicas > excess) left.push({ at, replicas: replicas - excess });
    excess -= Math.min(excess, replicas);
  }
  return { up: up - excess, starts: left };
}

function total(starts: readonly Starting[]): number {
  return starts.reduce((sum, { replicas }) => sum + replicas, 0);
}
