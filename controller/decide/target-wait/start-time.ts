/** How long replicas take to start: learned from those that were asked for and came up, and what a start is worth. Pure. */

/** How long pods take to start. */
export interface Start {
  /** ms. */
  readonly mean: number;
  /** Mean distance from the mean, ms. */
  readonly deviation: number;
  readonly pods: number;
}

const PODS = 20;

/** After a start that took `tookMs`; a negative duration counts as 0. */
export function learnStart(before: Start | undefined, tookMs: number): Start {
  const ms = Math.max(0, tookMs);
  if (!before) return { mean: ms, deviation: ms / 4, pods: 1 };
  const pods = Math.min(before.pods + 1, PODS);
  const value = Math.min(ms, before.mean * 4 + 1_000);
  const mean = before.mean + (value - before.mean) / pods;
  return { mean, deviation: before.deviation + (Math.abs(value - mean) - before.deviation) / pods, pods };
}

/** Replicas that were requested together and are not up yet. */
export interface Starting {
  readonly at: number;
  readonly replicas: number;
}

/**
 * Determines which of the requested replicas are up now. The oldest come up first, and show how long they took;
 * the newest are the first to be withdrawn. `tookMs` has an entry for each replica that came up.
 */
export function settleStarts(
  starts: readonly Starting[],
  start: Start | undefined,
  seen: { readonly starting: number; readonly up: number; readonly now: number },
): {
  readonly starts: readonly Starting[];
  readonly start: Start | undefined;
  readonly tookMs: readonly number[];
} {
  let learned = start;
  const tookMs: number[] = [];
  let up = seen.up;
  const left: Starting[] = [];
  for (const one of starts) {
    const came = Math.min(up, one.replicas);
    up -= came;
    if (came > 0) learned = learnStart(learned, seen.now - one.at);
    for (let i = 0; i < came; i++) tookMs.push(seen.now - one.at);
    if (one.replicas > came) left.push({ at: one.at, replicas: one.replicas - came });
  }
  let excess = left.reduce((sum, { replicas }) => sum + replicas, 0) - seen.starting;
  for (let i = left.length - 1; i >= 0 && excess > 0; i--) {
    const { at, replicas } = left[i] as Starting;
    const dropped = Math.min(excess, replicas);
    excess -= dropped;
    if (dropped === replicas) left.splice(i, 1);
    else left[i] = { at, replicas: replicas - dropped };
  }
  if (excess < 0) left.push({ at: seen.now, replicas: -excess });
  return { starts: left, start: learned, tookMs };
}

/** How long replicas take to start, and those that are on their way. */
export interface Starts {
  readonly start: Start | undefined;
  readonly starts: readonly Starting[];
  /** Replicas that were up at the last sample. */
  readonly ready: number;
}

/** After a sample at which `wanted` replicas were requested and `up` of them were up. */
export function learnStarts(before: Starts | undefined, wanted: number, up: number, now: number): Starts {
  const ready = Math.min(up, wanted);
  const came = { starting: wanted - ready, up: Math.max(0, ready - (before?.ready ?? ready)), now };
  const { starts, start } = settleStarts(before?.starts ?? [], before?.start, came);
  return { starts, start, ready };
}

/** Counts newly requested replicas as starting from now on. */
export function withStarted<T extends Starts>(before: T, replicas: number, now: number): T {
  return replicas > 0 ? { ...before, starts: [...before.starts, { at: now, replicas }] } : before;
}

/** The start time to plan with, ms. Unknown, a start counts as 2 s, or as half of the target if that is less. */
export function startTime(start: Start | undefined, waitMs = Infinity): number {
  return start ? start.mean + start.deviation : Math.min(2_000, waitMs / 2);
}

/** How long until a replica is up that has been starting for `sinceMs`. One that is late may be as late again. */
export function restOfStart(sinceMs: number, startMs: number): number {
  return Math.abs(startMs - sinceMs);
}

/** Replicas that a kept one stands for, at most. */
const MOST_INSTEAD = 4;

/** The cost of a start beyond the time that it takes, pod-ms: placing the pod, its network, its image, its first connection. */
export const START_COST_MS = 10_000;

/**
 * How much idling a start is worth, ms. What one kept replica does within the target takes several new ones: they have the
 * start time less.
 */
export function worthOfStart(startMs: number, waitMs: number): number {
  return (
    (START_COST_MS + startMs) *
    (startMs < waitMs ? Math.min(waitMs / (waitMs - startMs), MOST_INSTEAD) : MOST_INSTEAD)
  );
}

/** The same where tasks come so slowly that the new ones would have started anyway, but for those of the time of a start. */
export function leastWorthOfStart(startMs: number, waitMs: number): number {
  const instead = startMs < waitMs ? Math.min(startMs / (waitMs - startMs), MOST_INSTEAD) : MOST_INSTEAD;
  return (START_COST_MS + startMs) * Math.max(1, instead);
}
