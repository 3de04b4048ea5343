/**
 * Which replicas to keep although nothing needs them now. Replica number l of a pool is needed from time to time, and idle
 * between. Stopping it after τ of idling costs min(gap, τ) of idling and, when the gap is longer, a start. The gaps of the
 * past say which τ is cheapest, for low numbers and for high ones apart: the idle-time policy of "Serverless in the Wild"
 * (Shahrad et al., USENIX ATC 2020), with the costs of ski rental. A pool that has seen little leans on gaps of every
 * length being alike. Pure.
 */
export interface PastNeed {
  readonly at: number;
  readonly replicas: number;
}

export interface Idle {
  /** When each number of replicas was needed last: oldest first, each smaller than the one before it. */
  readonly needs: readonly PastNeed[];
  /** By group of replica numbers: how many gaps there were of each length, recent ones counting more. */
  readonly gaps: readonly (readonly number[])[];
}

export const neverIdle: Idle = { needs: [], gaps: [] };

/** Gaps from 1 s on, each class half as long again as the one before it, the last one 12 days. */
const CLASSES = 36;
const GROWTH = 1.5;
const FORGET = 0.985;
/** Before experience: PRIOR gaps, equally likely in each class up to a quarter of an hour. */
const PRIOR = 2;
const PRIOR_CLASSES = 18;
const NEEDS = 64;

/** Groups of replica numbers, two for each doubling: as many as Kubernetes can count to. */
const GROUPS = 64;

const groupOf = (replica: number): number =>
  Math.min(Math.max(Math.floor(2 * Math.log2(replica)), 0), GROUPS - 1);
const classOf = (gapMs: number): number =>
  Math.min(Math.max(Math.ceil(Math.log(gapMs / 1_000) / Math.log(GROWTH)), 0), CLASSES - 1);
/** Of each class; a power takes as long as all the rest of a step. */
const LONGEST: readonly number[] = Array.from({ length: CLASSES }, (_, index) => 1_000 * GROWTH ** index);
const longest = (index: number): number => LONGEST[index] as number;

/** After a sample at which `replicas` replicas were needed. */
export function withNeed({ needs, gaps }: Idle, replicas: number, at: number, since: number): Idle {
  let longer = gaps;
  let reached = 0;
  for (let i = needs.length - 1; i >= 0; i--) {
    const need = needs[i] as PastNeed;
    const from = reached;
    reached = Math.min(need.replicas, replicas);
    // needed at the last sample too: that is no gap
    if (need.at < since) longer = withGaps(longer, from + 1, reached, at - need.at);
    if (need.replicas >= replicas) break;
  }
  const kept = needs.filter((need) => need.replicas > replicas);
  if (kept.length >= NEEDS) kept.splice(1, 1);
  return { needs: replicas > 0 ? [...kept, { at, replicas }] : kept, gaps: longer };
}

function withGaps(gaps: Idle['gaps'], from: number, to: number, gapMs: number): Idle['gaps'] {
  if (!(from <= to)) return gaps;
  const next = [...gaps];
  for (let group = groupOf(from); group <= groupOf(to); group++) {
    const lowest = Math.ceil(2 ** (group / 2));
    const highest = Math.ceil(2 ** ((group + 1) / 2)) - 1;
    const share = (Math.min(highest, to) - Math.max(lowest, from) + 1) / Math.max(1, highest - lowest + 1);
    if (share <= 0) continue;
    const counts = (next[group] ?? []).map((count) => count * FORGET ** share);
    const index = classOf(gapMs);
    while (counts.length <= index) counts.push(0);
    counts[index] = (counts[index] ?? 0) + share;
    while (next.length < group) next.push([]);
    next[group] = counts;
  }
  return next;
}

/** How long this replica is to be kept when idle, ms, if a start costs as much as `startMs` of idling. */
export function patience({ gaps }: Idle, replica: number, startMs: number): number {
  const counts = gaps[groupOf(replica)] ?? [];
  const prior = (index: number): number => (index < PRIOR_CLASSES ? PRIOR / PRIOR_CLASSES : 0);
  let best = 0;
  let least = Infinity;
  let idled = 0;
  let longer = counts.reduce((sum, count) => sum + count, 0) + PRIOR;
  for (let index = 0; index < CLASSES; index++) {
    // kept until the end of the classes below this one
    const kept = index === 0 ? 0 : longest(index - 1);
    const cost = idled + longer * (kept + startMs);
    if (cost < least) {
      least = cost;
      best = kept;
    }
    const count = (counts[index] ?? 0) + prior(index);
    idled += count * (index === 0 ? 500 : (longest(index) + longest(index - 1)) / 2);
    longer -= count;
  }
  return best;
}

/** The highest number of replicas that is still to be kept; `windowMs` replaces what was learned. */
export function worthKeeping(idle: Idle, now: number, startMs: number, windowMs: number | undefined): number {
  for (const [i, { at, replicas }] of idle.needs.entries()) {
    const below = idle.needs[i + 1]?.replicas ?? 0;
    let top = replicas;
    // numbers of one group are kept equally long
    for (let group = groupOf(top); top > below && group >= 0; group--) {
      if (now - at < (windowMs ?? patience(idle, top, startMs))) return top;
      top = Math.ceil(2 ** (group / 2)) - 1;
    }
  }
  return 0;
}
