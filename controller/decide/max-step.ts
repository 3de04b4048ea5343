/**
 * Limits on how far replicas change in any 15 s (the period of an HPA's policies): a number of replicas, or a percentage of those
 * at the start of the period. Pure.
 */
export interface MaxStep {
  readonly replicas?: number;
  readonly percent?: number;
}

/** Replicas before a change. */
export interface Change {
  readonly at: number;
  readonly from: number;
}

const PERIOD_MS = 15_000;

/** `desired`, or as far towards it as the limits allow, which is at least one replica. */
export function limitStep(
  desired: number,
  current: number,
  changes: readonly Change[],
  limits: { readonly up: MaxStep | undefined; readonly down: MaxStep | undefined },
  now: number,
): { readonly replicas: number; readonly changes: readonly Change[] } {
  const recent = changes.filter(({ at }) => at > now - PERIOD_MS);
  // going up is measured against the lowest of the period, going down against the highest
  const lowest = Math.min(current, ...recent.map(({ from }) => from));
  const highest = Math.max(current, ...recent.map(({ from }) => from));
  const replicas =
    desired > current
      ? Math.max(current, Math.min(desired, lowest + stepOf(limits.up, lowest)))
      : Math.min(current, Math.max(desired, highest - stepOf(limits.down, highest)));
  const limited = limits.up !== undefined || limits.down !== undefined;
  return {
    replicas,
    changes: limited && replicas !== current ? [...recent, { at: now, from: current }] : recent,
  };
}

function stepOf(limit: MaxStep | undefined, replicas: number): number {
  if (!limit) return Infinity;
  const percent = limit.percent === undefined ? Infinity : Math.ceil((replicas * limit.percent) / 100);
  return Math.max(1, Math.min(limit.replicas ?? Infinity, percent));
}
