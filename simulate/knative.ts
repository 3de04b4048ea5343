/**
 * Knative's pod autoscaler (KPA), from "Supported autoscaler types", "Configuring concurrency" and `pkg/autoscaler/scaling`
 * of knative/serving: every 2 s, the average concurrency of the last 60 s (stable) and of the last 6 s (panic: 10 % of it),
 * each divided by the target, 70 % of the slots of a pod. Twice as many pods wanted as are ready is panic: for 60 s after
 * it was last so, replicas do not go down. Up by at most a factor of 1,000, down by at most 2 at a time. A request to a
 * revision at zero is counted at once by the activator; the last pod stays for the grace period of 30 s.
 *
 * Knative serves requests and knows no list: waiting tasks take the place of requests that its activator and its queue
 * proxies hold, which count as concurrency in the same way.
 */
import type { Autoscaler, World } from './autoscaler.ts';

export interface KnativeOptions {
  readonly slots: number;
  readonly minReplicas: number;
  readonly maxReplicas: number;
  readonly utilization?: number;
}

const TICK_MS = 2_000;
const STABLE_MS = 60_000;
const PANIC_MS = 6_000;
const PANIC_THRESHOLD = 2;
const MAX_UP = 1_000;
const MAX_DOWN = 2;
const ZERO_GRACE_MS = 30_000;

export function knative(options: KnativeOptions): Autoscaler {
  const { minReplicas, maxReplicas, slots, utilization = 0.7 } = options;
  const decide = createKpa(slots * utilization);
  const history: { at: number; demandMs: number }[] = [];
  let zeroSince: number | undefined;

  /** Mean concurrency of the last `ms`, from the integral recorded at each tick. */
  function average(now: number, demandMs: number, ms: number): number {
    const from = history.findLast(({ at }) => at <= now - ms) ?? { at: now - ms, demandMs: 0 };
    return (demandMs - from.demandMs) / ms;
  }

  function bounded(now: number, wanted: number, replicas: number): number {
    zeroSince = wanted > 0 ? undefined : (zeroSince ?? now);
    const floor = zeroSince !== undefined && now - zeroSince < ZERO_GRACE_MS && replicas > 0 ? 1 : 0;
    return Math.min(Math.max(wanted, floor, minReplicas), maxReplicas);
  }

  return {
    name: 'Knative KPA',
    victims: 'any',
    initial: minReplicas,
    look: (now, world: World) => {
      const { demandMs, waiting, wanted, ready } = world;
      history.push({ at: now, demandMs });
      while ((history[1]?.at ?? Infinity) <= now - STABLE_MS) history.shift();
      // the activator reports the first request by itself, as a concurrency of its own
      const poke = wanted === 0 ? waiting : 0;
      const stable = Math.max(average(now, demandMs, STABLE_MS), poke > 0 ? 0.01 : 0);
      const panic = Math.max(average(now, demandMs, PANIC_MS), poke);
      const replicas = bounded(now, decide(now, stable, panic, ready), wanted);
      return { replicas, next: now + TICK_MS, wakesOnPush: replicas === 0 };
    },
  };
}

/** The KPA's arithmetic: takes the time in ms, both averages and the ready pods; returns the desired pods, before bounds. */
export function createKpa(
  target: number,
): (now: number, stable: number, panic: number, readyPods: number) => number {
  let panicAt: number | undefined;
  let panicPods = 0;

  return (now, stable, panic, readyPods) => {
    const ready = Math.max(1, readyPods);
    const limit = (pods: number): number =>
      Math.min(Math.max(pods, Math.floor(ready / MAX_DOWN)), Math.ceil(MAX_UP * ready));
    const stablePods = Math.ceil(stable / target);
    const wantedPanic = Math.ceil(panic / target);
    const over = wantedPanic / ready >= PANIC_THRESHOLD;
    const stableWanted = limit(stablePods);
    if (over) panicAt = now;
    else if (panicAt !== undefined && now - panicAt > STABLE_MS) {
      panicAt = undefined;
      panicPods = 0;
    }
    if (panicAt === undefined) return stableWanted;
    panicPods = Math.max(panicPods, stableWanted, limit(wantedPanic));
    return panicPods;
  };
}
