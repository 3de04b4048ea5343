/**
 * Millrace in a simulation: the controller's own `decide`, called when the controller would call it. An active queue
 * is read every second, an idle one every 30 s, and an empty one immediately after a push.
 */
import { decide } from '../controller/decide/decide.ts';
import {
  noMemory,
  type Decision,
  type Memory,
  type Policy,
  type Sample,
} from '../controller/decide/decision.ts';
import type { Autoscaler, Parking, World } from './autoscaler.ts';

const POLL_MS = 1_000;
const SAFETY_MS = 30_000;
/** After the first task of an idle queue: a burst is seen as one. */
const BURST_MS = 100;

export interface Millrace extends Autoscaler {
  readonly memory: Memory;
  /** Of the last decision that had one. */
  readonly advice: Decision['advice'];
}

/** `beginMs`: when the run begins, ms since the epoch; schedules and forecasts go by it. `parking`: pods in all that stay. */
export function millrace(
  policy: Policy,
  memory: Memory = noMemory,
  beginMs = 0,
  parking: Parking = noParking,
): Millrace {
  let remembered = memory;
  let advice: Decision['advice'];
  let planned = 0;
  return {
    name: 'Millrace',
    victims: 'idle',
    initial: policy.minReplicas,
    parking: { ...parking, replicas: restOf(policy.minReplicas, parking, policy.maxReplicas) },
    get memory() {
      return remembered;
    },
    get advice() {
      return advice;
    },
    look: (now, world) => {
      const { waiting, inFlight, wanted, existing, ready, parked } = world;
      const at = beginMs + now;
      const woken = now < planned;
      const sample = sampleOf(world, woken ? at : undefined);
      const decision = decide(policy, sample, wanted, remembered, at, ready, at, parked);
      remembered = decision.memory;
      advice = decision.advice ?? advice;
      const settled = decision.cause === 'Enough' && wanted === existing;
      const active = waiting + inFlight > 0 || !settled;
      const next = now + (woken ? BURST_MS : active ? POLL_MS : SAFETY_MS);
      const boundary = (decision.decideAgainAt ?? Infinity) - beginMs;
      planned = Math.min(next, Math.max(boundary, now + 1));
      return {
        replicas: decision.desired,
        parked: restOf(decision.desired, parking, decision.bounds.maxReplicas),
        next: planned,
        wakesOnPush: true,
        reason: decision.reason,
      };
    },
  };
}

const noParking: Parking = { replicas: 0, share: 1 };

/** How many are parked beside those at work. */
function restOf(atWork: number, { replicas }: Parking, maxReplicas: number): number {
  return Math.max(0, Math.min(replicas, maxReplicas) - atWork);
}

function sampleOf(
  { waiting, inFlight, taken, completed, serviceMs, squaresMs2 }: World,
  quietUntil: number | undefined,
): Sample {
  const service = { serviceUs: 1_000 * serviceMs, squaresS2: squaresMs2 / 1e6, squaredTasks: completed };
  const counters = { taken, completed, failed: 0, retried: 0, ...service };
  return { kind: 'known', waiting, inFlight, due: 0, leaving: 0, quietUntil, counters };
}
