/** What `decide` believes, and what it lets out: numbers of which a wrong one would otherwise spread for good. Pure. */
import type { Decision, Policy, Sample } from './decision.ts';
import type { Learned } from './target-wait/learned.ts';

/** A sample in which a number is none is no sample. */
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
    squaresS2: counters?.squaresS2 ?? 0,
    squaredTasks: counters?.squaredTasks ?? 0,
  });
  const wrong = counted.find(([, count]) => !(count >= 0 && count <= Number.MAX_SAFE_INTEGER));
  if (!wrong) return sample;
  return { kind: 'unknown', why: `what it says of itself makes no sense (${wrong[0]})`, redis };
}

/** A sample for a pool of which nothing can be said. */
export const NONSENSE = { kind: 'unknown', why: 'no decision came out of what it says of itself' } as const;

/**
 * What is decided with what was learned; where that is no number of replicas, what is decided without it, and in the end what is
 * decided without a look at all, each in words.
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
): { readonly decision: Decision } | { readonly wrong: string } {
  try {
    const decision = make();
    const wrong = unsoundness(decision, policy, current);
    return wrong === undefined ? { decision } : { wrong };
  } catch (error) {
    return { wrong: (error as Error).message };
  }
}

/** Why a decision must not be acted on; `undefined` when it may. */
function unsoundness(
  { desired, bounds, memory: { learned } }: Decision,
  { fallback, pause }: Policy,
  current: number,
): string | undefined {
  const ends = [current, bounds.minReplicas, bounds.maxReplicas];
  if (fallback) ends.push(fallback.replicas);
  if (pause?.replicas !== undefined) ends.push(pause.replicas);
  const within = desired >= Math.min(...ends) && desired <= Math.max(...ends);
  if (!Number.isSafeInteger(desired) || !within) return `${desired} replicas`;
  const wrong = learned && Object.entries(learnedFigures(learned)).find(([, value]) => !(value >= 0));
  return wrong && `${wrong[0]} ${wrong[1]}`;
}

/** What goes into the next look, and from there into the one after it. */
function learnedFigures({ at, service, start, held, mean, over }: Learned): Record<string, number> {
  return {
    // the clock's own zero is anywhere
    look: Number.isFinite(at) ? 0 : Number.NaN,
    held,
    mean,
    over,
    ...(service && { service: service.mean, variance: service.variance, fast: service.fastMean }),
    ...(start && { start: start.mean, deviation: start.deviation }),
  };
}
