/**
 * How many replicas a pool should have: numbers in, a number and a reason out. No I/O, no clock, no randomness, so
 * that the controller, `millrace dev` and a simulation run this same function.
 *
 * The plain rule wants ceil((waiting + in flight + due) / tasksPerReplica). Up at once; down only to what the last
 * `window` needed at its highest, even where more workers hold tasks: those finish them first (shrink.ts). Memory is the falling edge of that window: older needs that no newer one has reached.
 *
 * After a restart the memory is empty, so nothing is known of the last window: the pool holds until one has passed.
 * A queue that cannot be read is not an empty queue: the pool holds, and after `fallback.afterMs` is raised to its
 * fallback, never lowered.
 */
export interface Policy {
  readonly minReplicas: number;
  readonly maxReplicas: number;
  readonly tasksPerReplica: number;
  readonly windowMs: number;
  readonly fallback: { readonly afterMs: number; readonly replicas: number } | undefined;
  readonly paused: boolean;
}

export type Sample =
  | {
      readonly kind: 'known';
      readonly waiting: number;
      readonly inFlight: number;
      readonly due: number;
      /** Workers that are to drain. */
      readonly leaving: number;
    }
  | { readonly kind: 'unknown'; readonly why: string };

export interface Memory {
  /** When this memory began, ms; `undefined` before the first sample. */
  readonly since: number | undefined;
  /** When a sample was last known, ms. */
  readonly knownAt: number | undefined;
  /** Needs of the window, oldest first, each smaller than the one before it. */
  readonly needs: readonly { readonly at: number; readonly replicas: number }[];
}

export const noMemory: Memory = { since: undefined, knownAt: undefined, needs: [] };

export type Cause = 'ScaleUp' | 'ScaleDown' | 'Enough' | 'WithinWindow' | 'Unknown' | 'Fallback' | 'Paused';

export interface Decision {
  readonly desired: number;
  readonly cause: Cause;
  /** The decision in words, `0→3: 12 waiting, 0 in flight, 5 tasks a replica`. */
  readonly reason: string;
  /** The bound that kept `desired` from what the work asks for. */
  readonly limited: 'min' | 'max' | undefined;
  readonly memory: Memory;
}

/** Decides for a pool that has `current` replicas now. All times in ms. */
export function decide(
  policy: Policy,
  sample: Sample,
  current: number,
  memory: Memory,
  now: number,
): Decision {
  const since = memory.since ?? now;
  if (policy.paused) {
    return {
      desired: current,
      cause: 'Paused',
      reason: `${current}: paused`,
      limited: undefined,
      memory: noMemory,
    };
  }
  if (sample.kind === 'unknown') return withoutSample(policy, sample.why, current, { ...memory, since }, now);

  const asked = replicasFor(sample, policy.tasksPerReplica);
  const need = clamp(asked, policy);
  const limited = need < asked ? 'max' : need > asked ? 'min' : undefined;
  const needs = remember(memory.needs, need, now, policy.windowMs);
  const next: Memory = { since, knownAt: now, needs };
  const work = words(sample, policy.tasksPerReplica) + (limited ? `, ${limited}Replicas ${need}` : '');
  const decision = (desired: number, cause: Cause, reason: string): Decision => ({
    desired,
    cause,
    reason,
    limited,
    memory: next,
  });

  if (need > current) return decision(need, 'ScaleUp', `${current}→${need}: ${work}`);
  if (need === current) return decision(current, 'Enough', `${current}: ${work}`);
  // a bound that the user lowered is no guess about the future: it holds at once
  const highest = Math.min(
    Math.max(needs[0]?.replicas ?? need, now - since < policy.windowMs ? current : 0),
    policy.maxReplicas,
  );
  const window = seconds(policy.windowMs);
  if (highest >= current)
    return decision(
      current,
      'WithinWindow',
      `${current}: ${work}; ${need} would do, but not yet for ${window}`,
    );
  return decision(highest, 'ScaleDown', `${current}→${highest}: ${work}; the last ${window} needed no more`);
}

function withoutSample(policy: Policy, why: string, current: number, memory: Memory, now: number): Decision {
  const { fallback } = policy;
  const blindFor = now - (memory.knownAt ?? memory.since ?? now);
  const held = Math.max(current, policy.minReplicas);
  if (fallback && blindFor >= fallback.afterMs && fallback.replicas > held) {
    const reason = `${current}→${fallback.replicas}: fallback, the queue could not be read for ${seconds(blindFor)} (${why})`;
    return { desired: fallback.replicas, cause: 'Fallback', reason, limited: undefined, memory };
  }
  return { desired: held, cause: 'Unknown', reason: `${held}: held, ${why}`, limited: undefined, memory };
}

/** The plain rule, before the bounds. */
function replicasFor(sample: Sample & { kind: 'known' }, tasksPerReplica: number): number {
  return Math.ceil((sample.waiting + sample.inFlight + sample.due) / tasksPerReplica);
}

/** Adds a need and drops what it overtakes and what is older than the window: what is first is the window's highest. */
function remember(needs: Memory['needs'], replicas: number, at: number, windowMs: number): Memory['needs'] {
  const kept = needs.filter((need) => need.at > at - windowMs && need.replicas > replicas);
  return [...kept, { at, replicas }];
}

function clamp(replicas: number, { minReplicas, maxReplicas }: Policy): number {
  return Math.min(Math.max(replicas, minReplicas), maxReplicas);
}

function words({ waiting, inFlight, due }: Sample & { kind: 'known' }, tasksPerReplica: number): string {
  const tasks = tasksPerReplica === 1 ? '1 task a replica' : `${tasksPerReplica} tasks a replica`;
  return `${waiting} waiting, ${inFlight} in flight${due > 0 ? `, ${due} due` : ''}, ${tasks}`;
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}
