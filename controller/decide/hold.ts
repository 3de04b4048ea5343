/** Decisions that do not depend on the queue: while paused, and while the queue cannot be read. Pure. */
import type { Decision, Policy, Sample, Numbers } from './decision.ts';
import { describeBound, seconds } from './reason.ts';
import type { BoundsNow } from './schedule.ts';

type HoldDecision = Pick<Decision, 'desired' | 'cause' | 'reason' | 'limited' | 'numbers'>;

/** The current replicas, or the number that the user set; scale-in drains, which requires a queue that can be read. */
export function paused({ pause }: Policy, sample: Sample, numbers: Numbers): HoldDecision {
  const { current } = numbers;
  const wanted = pause?.replicas ?? current;
  const blind = sample.kind === 'unknown' && wanted < current;
  const desired = blind ? current : wanted;
  const held = blind ? `, ${wanted} once the queue can be read (${sample.why})` : '';
  const reason = `${desired === current ? current : `${current}→${desired}`}: paused${pause ? ` by ${pause.by}` : ''}${held}`;
  return { desired, cause: 'Paused', reason, limited: undefined, numbers };
}

/** Holds the current replicas, and raises them to the fallback after its delay; never lowers them. */
export function withoutSample(
  { fallback }: Policy,
  bounds: BoundsNow,
  why: string,
  numbers: Numbers,
  blindFor: number,
): HoldDecision {
  const { current } = numbers;
  const held = Math.max(current, bounds.minReplicas);
  const rest = { limited: undefined, numbers };
  if (fallback && blindFor >= fallback.afterMs && fallback.replicas > held) {
    const reason = `${current}→${fallback.replicas}: fallback, the queue could not be read for ${seconds(blindFor)} (${why})`;
    return { desired: fallback.replicas, cause: 'Fallback', reason, ...rest };
  }
  const reason =
    held > current ? `${current}→${held}: ${describeBound('min', bounds)}, ${why}` : `${held}: held, ${why}`;
  return { desired: held, cause: 'Unknown', reason, ...rest };
}
