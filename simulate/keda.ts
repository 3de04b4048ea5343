/**
 * KEDA with a Redis list trigger, from its documents ("Scaling Deployments", "ScaledObject specification", "Redis Lists"): polls
 * every `pollingInterval` (30 s). At zero replicas, a list longer than `activationListLength` (0) makes it max(1,
 * minReplicaCount); a list that has been empty for `cooldownPeriod` (300 s) makes it zero. From one replica on, the HPA that
 * it makes decides (hpa.ts), on the metric that KEDA serves live: LLEN, as an AverageValue of `listLength` (5). Tasks
 * inside workers are not in the list.
 */
import type { Autoscaler, World } from './autoscaler.ts';
import { createHpa, SYNC_MS } from './hpa.ts';

export interface KedaOptions {
  readonly minReplicas: number;
  readonly maxReplicas: number;
  /** When its two timers first fire: they are independent of the traffic. */
  readonly phaseMs: number;
}

export const LIST_LENGTH = 5;
const POLL_MS = 30_000;
const COOLDOWN_MS = 300_000;

export function keda(options: KedaOptions): Autoscaler {
  const { minReplicas, maxReplicas, phaseMs } = options;
  const hpa = createHpa({
    target: LIST_LENGTH,
    minReplicas: Math.max(1, minReplicas),
    maxReplicas,
  });
  let nextPoll = phaseMs % POLL_MS;
  let nextSync = phaseMs % SYNC_MS;
  let activeAt = -Infinity;

  function poll(now: number, { waiting }: World, replicas: number): number {
    if (waiting > 0) {
      activeAt = now;
      return replicas === 0 ? Math.max(1, minReplicas) : replicas;
    }
    return replicas > 0 && minReplicas === 0 && now - activeAt >= COOLDOWN_MS ? 0 : replicas;
  }

  return {
    name: 'KEDA + HPA',
    victims: 'any',
    initial: minReplicas,
    look: (now, world) => {
      let replicas = world.wanted;
      if (now >= nextPoll) {
        replicas = poll(now, world, replicas);
        nextPoll += POLL_MS;
      }
      if (now >= nextSync) {
        // KEDA's HPA has a minimum of 1 and ignores what is scaled to zero
        if (replicas > 0) replicas = hpa(now, world.waiting, replicas);
        nextSync += SYNC_MS;
      }
      return { replicas, next: Math.min(nextPoll, nextSync), wakesOnPush: false };
    },
  };
}
