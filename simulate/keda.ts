/**
 * KEDA with a Redis list trigger, and the HorizontalPodAutoscaler that it makes, from their documents:
 *
 * - KEDA ("Scaling Deployments", "ScaledObject specification", "Redis Lists"): polls every `pollingInterval` (30 s); at zero
 *   replicas, a list longer than `activationListLength` (0) makes it max(1, minReplicaCount); a list that has been empty
 *   for `cooldownPeriod` (300 s) makes it zero. From one replica on, the HPA decides, on the metric that KEDA serves live:
 *   LLEN, as an AverageValue of `listLength` (5). Tasks inside workers are not in the list.
 * - HPA ("Horizontal Pod Autoscaling"): every 15 s, ceil(metric / target), unless metric / (target × replicas) is within
 *   10 % of 1; up by at most max(100 %, 4 pods) in 15 s; down to the highest recommendation of the last 300 s.
 */
import type { Autoscaler, World } from './autoscaler.ts';

export interface KedaOptions {
  readonly minReplicas: number;
  readonly maxReplicas: number;
  readonly listLength?: number;
  readonly pollMs?: number;
  readonly cooldownMs?: number;
  readonly stabilizationMs?: number;
  /** When its two timers first fire: they know nothing of the traffic. */
  readonly phaseMs?: number;
}

const SYNC_MS = 15_000;
const TOLERANCE = 0.1;

export function keda(options: KedaOptions): Autoscaler {
  const { minReplicas, maxReplicas, pollMs = 30_000, cooldownMs = 300_000, phaseMs = 0 } = options;
  const hpa = createHpa({
    target: options.listLength ?? 5,
    minReplicas: Math.max(1, minReplicas),
    maxReplicas,
    stabilizationMs: options.stabilizationMs ?? 300_000,
  });
  let nextPoll = phaseMs % pollMs;
  let nextSync = phaseMs % SYNC_MS;
  let activeAt = -Infinity;

  function poll(now: number, { waiting }: World, replicas: number): number {
    if (waiting > 0) {
      activeAt = now;
      return replicas === 0 ? Math.max(1, minReplicas) : replicas;
    }
    return replicas > 0 && minReplicas === 0 && now - activeAt >= cooldownMs ? 0 : replicas;
  }

  return {
    name: 'KEDA + HPA',
    victims: 'any',
    initial: minReplicas,
    look: (now, world) => {
      let replicas = world.wanted;
      if (now >= nextPoll) {
        replicas = poll(now, world, replicas);
        nextPoll += pollMs;
      }
      if (now >= nextSync) {
        // an HPA leaves alone what is scaled to zero
        if (replicas > 0) replicas = hpa(now, world.waiting, replicas);
        nextSync += SYNC_MS;
      }
      return { replicas, next: Math.min(nextPoll, nextSync), listens: false };
    },
  };
}

export interface HpaOptions {
  /** The metric's AverageValue. */
  readonly target: number;
  readonly minReplicas: number;
  readonly maxReplicas: number;
  readonly stabilizationMs: number;
}

/** One HPA: time in ms, the metric and the replicas there are, and the replicas that it wants. */
export function createHpa(options: HpaOptions): (now: number, metric: number, replicas: number) => number {
  const { target, minReplicas, maxReplicas, stabilizationMs } = options;
  let recommended: { at: number; replicas: number }[] = [];
  let changes: { at: number; by: number }[] = [];

  /** The most that the scale-up policies allow: 100 % or 4 pods, whichever is more, over those of 15 s ago. */
  function upLimit(now: number, replicas: number): number {
    changes = changes.filter(({ at }) => at > now - SYNC_MS);
    const before = replicas - changes.reduce((sum, { by }) => sum + by, 0);
    return Math.max(before + 4, before * 2);
  }

  return (now, metric, replicas) => {
    const ratio = metric / (target * replicas);
    const raw = Math.abs(ratio - 1) <= TOLERANCE ? replicas : Math.ceil(metric / target);
    const bounded = Math.min(Math.max(raw, minReplicas), maxReplicas);
    recommended = recommended.filter(({ at }) => at > now - stabilizationMs);
    recommended.push({ at: now, replicas: bounded });
    const highest = Math.max(...recommended.map((one) => one.replicas));
    const wanted =
      bounded > replicas ? Math.min(bounded, upLimit(now, replicas)) : Math.min(replicas, highest);
    const result = Math.min(Math.max(wanted, minReplicas), maxReplicas);
    if (result !== replicas) changes.push({ at: now, by: result - replicas });
    return result;
  };
}
