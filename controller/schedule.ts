/** Bounds that change with the time of day: each schedule holds for a while from each of its starts. Pure. */
export interface Schedule {
  /** The last start at or before this time, both ms since the epoch; `undefined` when there was none. */
  readonly lastStart: (now: number) => number | undefined;
  readonly durationMs: number;
  readonly minReplicas: number | undefined;
  readonly maxReplicas: number | undefined;
}

export interface Bounds {
  readonly minReplicas: number;
  readonly maxReplicas: number;
}

/**
 * The pool's own bounds, replaced by those of the schedules that are on. Where several are, the largest of each wins; a
 * minimum over the maximum raises the maximum, since a schedule that asks for replicas means it.
 */
export function boundsAt(own: Bounds, schedules: readonly Schedule[], now: number): Bounds {
  const on = schedules.filter(({ lastStart, durationMs }) => {
    const start = lastStart(now);
    return start !== undefined && now < start + durationMs;
  });
  const given = (of: (schedule: Schedule) => number | undefined): number[] =>
    on.map(of).filter((value) => value !== undefined);
  const least = given(({ minReplicas }) => minReplicas);
  const most = given(({ maxReplicas }) => maxReplicas);
  const minReplicas = least.length > 0 ? Math.max(...least) : own.minReplicas;
  const maxReplicas = most.length > 0 ? Math.max(...most) : own.maxReplicas;
  return {
    minReplicas: least.length > 0 ? minReplicas : Math.min(minReplicas, maxReplicas),
    maxReplicas: Math.max(maxReplicas, least.length > 0 ? minReplicas : 0),
  };
}
