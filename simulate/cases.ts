/**
 * Loads to test an autoscaling rule with: everyday ones, and those that are hard for a rule that sees only sums. Each is made
 * from a seed; for a name, a seed and nothing else the trace is the same. Pure.
 */
import { generate, traceKinds, type TraceKind } from './generate.ts';
import { createRandom, type Random } from './random.ts';
import { createTrace, type TaskTrace } from './trace.ts';

export interface Case {
  readonly name: string;
  readonly trace: (seed: number) => TaskTrace;
  readonly targetMs: number;
  readonly maxReplicas: number;
  readonly startMs: number;
  readonly startVariation: number;
  readonly slots: number;
}

type Task = readonly [arrivalMs: number, serviceMs: number];

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

const usual = { targetMs: 10 * SECOND, maxReplicas: 100, startMs: 5 * SECOND, startVariation: 0, slots: 1 };

function load(name: string, tasks: (random: Random) => Iterable<Task>, change: Partial<Case> = {}): Case {
  const trace = (seed: number): TaskTrace => {
    const all = [...tasks(createRandom(seed))].toSorted(([a], [b]) => a - b);
    return createTrace(`${name}, seed ${seed}`, all);
  };
  return { ...usual, name, trace, ...change };
}

function generated(kind: TraceKind): Case {
  return { ...usual, name: `generated: ${kind}`, trace: (seed) => generate(kind, { seed }) };
}

/** `count` tasks at the same time. */
function batch(at: number, count: number, service: () => number): Task[] {
  return Array.from({ length: count }, () => [at, service()]);
}

/** Poisson arrivals at `rate(t)` a second, never more than `peak`, from `from` until `until`. */
function* poisson(
  random: Random,
  [from, until]: readonly [number, number],
  peak: number,
  service: (at: number) => number,
  share: (at: number) => number = () => 1,
): Generator<Task> {
  for (let at = from; ;) {
    at += random.exponential(SECOND / peak);
    if (at >= until) return;
    if (random.uniform() < share(at)) yield [at, service(at)];
  }
}

/** On for a part of each period. */
const square =
  (periodMs: number, on: number) =>
  (at: number): number =>
    at % periodMs < on * periodMs ? 1 : 0;

/** No task, or no similar one, has finished yet. */
const long: readonly Case[] = [
  load('new pool, 50 tasks of 2 h at once', () => batch(0, 50, () => 2 * HOUR)),
  load('new pool, 50 tasks of 60 s at once', () => batch(0, 50, () => MINUTE)),
  load('new pool, a task of 30 min every 5 s', (random) =>
    poisson(random, [0, 5 * MINUTE], 0.2, () => 30 * MINUTE),
  ),
  load('new pool, 300 tasks of 0.2 s at once', () => batch(0, 300, () => 200)),
  load('new pool, 30 tasks of 20 min, 4 slots', () => batch(0, 30, () => 20 * MINUTE), { slots: 4 }),
  load(
    '20 tasks of 1 h at once every 3 h, target 60 s',
    () => [0, 1, 2, 3].flatMap((n) => batch(3 * HOUR * n, 20, () => HOUR)),
    { targetMs: MINUTE },
  ),
  load('30 min of 0.1 s, then 50 of 10 min at once', (random) => [
    ...poisson(random, [0, 30 * MINUTE], 5, () => 100),
    ...batch(30 * MINUTE, 50, () => 10 * MINUTE),
  ]),
];

/** Service times that a mean does not describe. */
const mixed: readonly Case[] = [
  load('99 % of 50 ms, 1 % of 120 s', (random) =>
    poisson(random, [0, HOUR], 5, () => (random.uniform() < 0.01 ? 2 * MINUTE : 50)),
  ),
  load('half of 0.1 s, half of 20 s', (random) =>
    poisson(random, [0, HOUR], 1, () => (random.uniform() < 0.5 ? 20 * SECOND : 100)),
  ),
  load('90 % of 0.5 s, 10 % of 30 s, in waves', (random) =>
    poisson(
      random,
      [0, HOUR],
      3,
      () => (random.uniform() < 0.1 ? 30 * SECOND : 500),
      square(2 * MINUTE, 0.4),
    ),
  ),
  load('0.5 s, from the half on 30 s', (random) =>
    poisson(random, [0, HOUR], 1, (at) => (at < HOUR / 2 ? 500 : 30 * SECOND)),
  ),
  load('20 s, from the half on 0.2 s', (random) =>
    poisson(random, [0, HOUR], 1, (at) => (at < HOUR / 2 ? 20 * SECOND : 200)),
  ),
  load('Pareto 1.2', (random) => poisson(random, [0, HOUR], 2, () => random.pareto(1_000, 1.2))),
  load('as long as the target, 12 s in 2 min', (random) =>
    poisson(random, [0, HOUR], 1, () => 10 * SECOND, square(2 * MINUTE, 0.1)),
  ),
  load('as long as the target, always', (random) => poisson(random, [0, HOUR], 1, () => 10 * SECOND)),
  load('twice the target, 1 min in 5', (random) =>
    poisson(random, [0, HOUR], 1, () => 20 * SECOND, square(5 * MINUTE, 0.2)),
  ),
];

/** Short bursts of much work that few replicas can do. */
const short: readonly Case[] = [
  load('1,000/s of 5 ms, 30 s in 60', (random) =>
    poisson(random, [0, 8 * MINUTE], 1_000, () => 5, square(MINUTE, 0.5)),
  ),
  load('300/s of 10 ms, 10 s in 60', (random) =>
    poisson(random, [0, 20 * MINUTE], 300, () => 10, square(MINUTE, 1 / 6)),
  ),
  load('5,000 of 2 ms at once every minute', () =>
    Array.from({ length: 20 }, (_, n) => batch(n * MINUTE, 5_000, () => 2)).flat(),
  ),
  load('100/s of 20 ms, 1 min in 5', (random) =>
    poisson(random, [0, 40 * MINUTE], 100, () => 20, square(5 * MINUTE, 0.2)),
  ),
];

/** Everyday loads. */
const everyday: readonly Case[] = [
  ...traceKinds.map((kind) => generated(kind)),
  {
    ...usual,
    name: 'on/off, starts vary',
    startVariation: 0.5,
    trace: (seed) => generate('onoff', { seed }),
  },
  {
    ...usual,
    name: 'steady, 16 slots',
    slots: 16,
    trace: (seed) => generate('steady', { seed, rate: 30, serviceMs: 3_000 }),
  },
  load('a saw-tooth', (random) =>
    poisson(
      random,
      [0, HOUR],
      6,
      () => random.lognormal(2_000, 1),
      (at) => (at % (10 * MINUTE)) / (10 * MINUTE),
    ),
  ),
  load('a ramp', (random) =>
    poisson(
      random,
      [0, HOUR],
      10,
      () => random.lognormal(1_000, 1),
      (at) => at / HOUR,
    ),
  ),
  load('a task of 2 s every 40 s', (random) => poisson(random, [0, 3 * HOUR], 1 / 40, () => 2 * SECOND)),
  load('a task of 2 s every 5 min', (random) => poisson(random, [0, 6 * HOUR], 1 / 300, () => 2 * SECOND)),
  load('100 of 3 s at once every 10 min', (random) =>
    Array.from({ length: 8 }, (_, n) =>
      batch(10 * MINUTE * n, 100, () => random.lognormal(3_000, 0.5)),
    ).flat(),
  ),
  load(
    'steady, target 2 s, 1 s to start',
    (random) => poisson(random, [0, HOUR], 4, () => random.lognormal(800, 1)),
    { targetMs: 2 * SECOND, startMs: SECOND },
  ),
];

/** Square waves that need eight slots while they are on. */
const waves: readonly Case[] = [20, SECOND, 10 * SECOND].flatMap((serviceMs) =>
  [15, 30, 60, 120, 300, 900].flatMap((period) =>
    [0.1, 0.3, 0.6].map((on) =>
      load(`wave of ${serviceMs / SECOND} s, ${100 * on} % of ${period} s`, (random) => {
        const end = Math.min(Math.max(20 * period, 600), 3_600) * SECOND;
        const peak = (8 * SECOND) / serviceMs;
        return poisson(
          random,
          [0, end],
          peak,
          () => random.lognormal(serviceMs, 0.5),
          square(period * SECOND, on),
        );
      }),
    ),
  ),
);

/** By kind. */
export const cases = { long, mixed, short, everyday, waves } as const satisfies Record<
  string,
  readonly Case[]
>;
