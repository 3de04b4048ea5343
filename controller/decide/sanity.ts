/**
 * Validates the input and the output of `decide`: a wrong number in either would otherwise stay in what is learned for good.
 * Pure.
 */
import type { Decision, Memory, Numbers, Policy, Sample } from './decision.ts';
import type { Learned } from './target-wait/learned.ts';

/** Of counts, and of times that are summed over a pool's slots and its years: a thousand slots are busy for 1e15 µs in twelve days. */
const MOST_COUNTED = 1e15;
const MOST_SUMMED = 1e24;

/** A sample with an invalid number counts as unknown. */
export function soundSample(sample: Sample): Sample {
  if (sample.kind === 'unknown') return sample;
  const { waiting, inFlight, due, leaving, dueSoon = 0, counters, redis } = sample;
  const { suspects = 0, solitary = 0, apart = { workers: 0, tasks: 0 } } = sample;
  const counted = Object.entries({
    waiting,
    inFlight,
    due,
    leaving,
    dueSoon,
    suspects,
    solitary,
    ...apart,
    ...counters,
    squaredTasks: counters?.squaredTasks ?? 0,
    squaresS2: counters?.squaresS2 ?? 0,
  });
  const wrong = counted.find(([name, count]) => !(count >= 0 && count <= mostOf(name)));
  if (!wrong) return sample;
  return { kind: 'unknown', why: `its counts make no sense (${wrong[0]})`, redis };
}

const mostOf = (name: string): number =>
  name === 'serviceUs' || name === 'squaresS2' ? MOST_SUMMED : MOST_COUNTED;

/** The sample of last resort, when no decision can be made from the real one. */
export const NONSENSE = { kind: 'unknown', why: 'no decision could be made from its counts' } as const;

/**
 * The decision with what was learned; if that is not a valid number of replicas, the decision without it; and if that is not one
 * either, the decision without a sample.
 */
export function soundDecision(
  policy: Policy,
  current: number,
  remembering: () => Decision,
  anew: () => Decision,
  blind: () => Decision,
): Decision {
  const first = attempt(remembering, policy, current);
  if ('decision' in first) return first.decision;
  const second = attempt(anew, policy, current);
  const { reason, ...rest } = 'decision' in second ? second.decision : blind();
  return {
    ...rest,
    reason: `${reason}; what was learned made no sense and is forgotten`,
    forgot: first.wrong,
  };
}

/** The decision, or what is wrong with it. */
function attempt(
  make: () => Decision,
  policy: Policy,
  current: number,
): { readonly decision: Decision } | { readonly wrong: Error } {
  try {
    const decision = make();
    const wrong = unsoundness(decision, policy, current);
    return wrong === undefined ? { decision } : { wrong: new RangeError(wrong) };
  } catch (error) {
    return { wrong: error as Error };
  }
}

/** Why a decision must not be acted on; `undefined` when it may. */
function unsoundness(
  { desired, bounds, numbers, memory }: Decision,
  { fallback, pause }: Policy,
  current: number,
): string | undefined {
  const ends = [current, bounds.minReplicas, bounds.maxReplicas];
  if (fallback) ends.push(fallback.replicas);
  if (pause?.replicas !== undefined) ends.push(pause.replicas);
  const within = desired >= Math.min(...ends) && desired <= Math.max(...ends);
  if (!Number.isSafeInteger(desired) || !within) return `${desired} replicas`;
  const { learned } = memory;
  const figures = { ...(learned && learnedFigures(learned)), ...usedFigures(numbers) };
  const wrong =
    Object.entries(figures).find(([, value]) => !(value >= 0 && value < Infinity)) ??
    // the zero of this clock may be anywhere
    Object.entries(moments(memory)).find(([, at]) => !Number.isFinite(at));
  return wrong && `${wrong[0]} ${wrong[1]}`;
}

/** The times from which the next decisions reckon. */
function moments({ since = 0, knownAt = 0, needs, changes = [], learned }: Memory): Record<string, number> {
  const all = { 'first sample': since, 'last sample': knownAt, 'last look': learned?.at ?? 0 };
  const others = [...needs, ...changes].map(({ at }) => at);
  return { ...all, 'need or change': others.find((at) => !Number.isFinite(at)) ?? 0 };
}

/** The times and costs that this decision is based on. */
function usedFigures({ target }: Numbers): Record<string, number> {
  const { serviceMs = 0, startMs = 0, longerCosts = 0 } = target ?? {};
  return { 'service time': serviceMs, 'start time': startMs, 'cost of longer keeping': longerCosts };
}

/** The figures that go into the next decision, and from there into the one after it. */
function learnedFigures({ service, start, held, mean, over, replays }: Learned): Record<string, number> {
  return {
    held,
    mean,
    over,
    ...(service && { service: service.mean, variance: service.variance, fast: service.fastMean }),
    ...(replays && { 'replayed cost': replays.long.cost + replays.short.cost }),
    ...(start && { start: start.mean, deviation: start.deviation }),
  };
}
