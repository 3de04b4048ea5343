/**
 * Traces made from a seed. Arrivals are Poisson with a rate that changes over time (by thinning: Lewis and Shedler,
 * 1979), service times log-normal or, for the heavy tail, Pareto. Pure: the same words give the same trace.
 */
import { createRandom, type Random } from './random.ts';
import type { TaskTrace } from './trace.ts';

export interface Shape {
  readonly seed: number;
  /** Duration of arrivals, ms. */
  readonly durationMs: number;
  /** Mean arrivals a second over the whole. */
  readonly rate: number;
  /** Mean service time, ms. */
  readonly serviceMs: number;
  /** Standard deviation / mean of the service time; ignored by the heavy tail. */
  readonly variation: number;
}

export const usualShape: Shape = { seed: 1, durationMs: 3_600_000, rate: 2, serviceMs: 1_400, variation: 1 };

/** Rate at a time, as a multiple of the mean rate; its own mean is about 1. */
type Profile = (share: number) => number;

/** Off, then on in bouts of exponential length, about 10 % of the time and ten times as dense. */
function onOff(random: Random, durationMs: number): Profile {
  const flips: number[] = [0];
  for (let at = 0; at < durationMs;) {
    at += random.exponential(180_000);
    flips.push(at);
    at += random.exponential(20_000);
    flips.push(at);
  }
  let i = 0;
  return (share) => {
    while ((flips[i + 1] ?? Infinity) <= share * durationMs) i++;
    return i % 2 === 1 ? 10 : 0;
  };
}

interface Kind {
  readonly profile: (random: Random, durationMs: number) => Profile;
  readonly peak: number;
  readonly heavy?: boolean;
}

const kinds = {
  /** Constant rate. */
  steady: { profile: () => () => 1, peak: 1 },
  /** Low for a third, high for a third, low again. */
  step: { profile: () => (share) => (share > 1 / 3 && share < 2 / 3 ? 2.6 : 0.2), peak: 2.6 },
  /** A low constant rate, and half of all tasks at six moments. */
  spike: { profile: () => (share) => ((share * 6) % 1 < 0.02 ? 25.5 : 0.5), peak: 25.5 },
  onoff: { profile: onOff, peak: 10 },
  /** A day: almost no arrivals at night. */
  diurnal: { profile: () => (share) => 1 - 0.95 * Math.cos(2 * Math.PI * share), peak: 1.95 },
  /** Steady arrivals of tasks that differ by orders of magnitude. */
  heavy: { profile: () => () => 1, peak: 1, heavy: true },
} as const satisfies Record<string, Kind>;

export type TraceKind = keyof typeof kinds;
export const traceKinds = Object.keys(kinds) as TraceKind[];

/** A trace of this kind and shape. */
export function generate(kind: TraceKind, shape: Partial<Shape> = {}): TaskTrace {
  const { seed, durationMs, rate, serviceMs, variation } = { ...usualShape, ...shape };
  const random = createRandom(seed);
  const { profile, peak, heavy }: Kind = kinds[kind];
  const profileAt = profile(createRandom(seed + 1), durationMs);
  const arrivals: number[] = [];
  for (let at = random.exponential(1_000 / (rate * peak)); at < durationMs;) {
    if (random.uniform() * peak < profileAt(at / durationMs)) arrivals.push(at);
    at += random.exponential(1_000 / (rate * peak));
  }
  const draw = (): number => (heavy ? random.pareto(serviceMs, 1.8) : random.lognormal(serviceMs, variation));
  return {
    name: `${kind}, seed ${seed}`,
    arrivals: Float64Array.from(arrivals),
    services: Float64Array.from(arrivals, draw),
  };
}
