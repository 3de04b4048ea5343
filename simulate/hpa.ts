/**
 * The HorizontalPodAutoscaler of Kubernetes with an external metric, from "Horizontal Pod Autoscaling" and its default
 * behavior: every 15 s, ceil(metric / target), unless metric / (target × replicas) is within 10 % of 1; up by at most
 * max(100 %, 4 pods) in 15 s; down to the highest recommendation of the last 300 s.
 *
 * With `minReplicas: 0` it also goes to zero, as Kubernetes does by default since 1.37 (`HPAScaleToZero`; before, an HPA of at
 * least one replica is all there is). It wakes only what it scaled to zero itself, which the real one keeps in its
 * condition `ScaledToZero`: a Deployment that another writer took to zero, or that was created there, sleeps on.
 */
import type { Autoscaler } from './autoscaler.ts';

export const SYNC_MS = 15_000;
const STABILIZATION_MS = 300_000;
const TOLERANCE = 0.1;

export interface HpaOptions {
  /** The metric's AverageValue. */
  readonly target: number;
  readonly minReplicas: number;
  readonly maxReplicas: number;
}

/** One HPA: takes the time in ms, the metric and the current replicas; returns the desired replicas. */
export function createHpa(options: HpaOptions): (now: number, metric: number, replicas: number) => number {
  const { target, minReplicas, maxReplicas } = options;
  let recommended: { at: number; replicas: number }[] = [];
  let changes: { at: number; by: number }[] = [];
  /** As the condition of that name, it changes with a write of this HPA alone. */
  let scaledToZero = false;

  /** The most that the scale-up policies allow: 100 % or 4 pods, whichever is more, over those of 15 s ago. */
  function upLimit(now: number, replicas: number): number {
    changes = changes.filter(({ at }) => at > now - SYNC_MS);
    const before = replicas - changes.reduce((sum, { by }) => sum + by, 0);
    return Math.max(before + 4, before * 2);
  }

  return (now, metric, replicas) => {
    if (replicas === 0 && !scaledToZero) return 0;
    // at zero the ratio is infinite, or none: beyond every tolerance
    const ratio = metric / (target * replicas);
    const raw = Math.abs(ratio - 1) <= TOLERANCE ? replicas : Math.ceil(metric / target);
    const bounded = Math.min(Math.max(raw, minReplicas), maxReplicas);
    recommended = recommended.filter(({ at }) => at > now - STABILIZATION_MS);
    recommended.push({ at: now, replicas: bounded });
    const highest = Math.max(...recommended.map((one) => one.replicas));
    const wanted =
      bounded > replicas ? Math.min(bounded, upLimit(now, replicas)) : Math.min(replicas, highest);
    const result = Math.min(Math.max(wanted, minReplicas), maxReplicas);
    if (result !== replicas) {
      changes.push({ at: now, by: result - replicas });
      scaledToZero = result === 0;
    }
    return result;
  };
}

/** An HPA on the length of the list, by itself. It begins with one pod at least: from a Deployment at zero it would never wake. */
export function hpa(options: HpaOptions & { readonly phaseMs: number }): Autoscaler {
  const decide = createHpa(options);
  let nextSync = options.phaseMs % SYNC_MS;
  return {
    name: 'HPA',
    victims: 'any',
    initial: Math.max(1, options.minReplicas),
    look: (now, { waiting, wanted }) => {
      if (now < nextSync) return { replicas: wanted, next: nextSync, wakesOnPush: false };
      nextSync += SYNC_MS;
      return { replicas: decide(now, waiting, wanted), next: nextSync, wakesOnPush: false };
    },
  };
}
