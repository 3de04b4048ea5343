/**
 * `controller/observe/` takes two samples and a step and returns what happened between them as one value, and the metrics
 * made of it. It does not know who stores or shows that.
 *
 * What happened in a pool between two looks, as one value: for the time line, metrics and the dashboard, whatever rule the
 * pool has. Pure.
 *
 * It comes out of two samples of the queue (their counters, their lengths), the curve of arrivals between them, and the
 * replicas that were asked for and came up. Sums are never negative: counters that begin anew, as after a flush of Redis,
 * give zeros, and so does the first look. What is remembered for the next one is small, and for an idle pool next to nothing.
 */
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import { waitsOf, withPoint, type Curve, type CurvePoint } from '../decide/target-wait/arrivals.ts';
import type { Decision, Numbers } from '../decide/decision.ts';
import { settleStarts, type Starting } from '../decide/target-wait/start-time.ts';
import { learnedNumbers } from '../decide/numbers.ts';
import type { Sampled } from '../sample/sampled.ts';
import type { Step } from '../act/step.ts';
import type { Wait } from '../decide/target-wait/waits.ts';

export interface Observation {
  /** ms since the epoch. */
  readonly at: number;
  /** The same moment by a monotonic clock: for what lasted from one observation to another. */
  readonly elapsed: number;
  /** Whether the queue could be read. While it could not, what it holds is what it held last, and all sums are zero. */
  readonly known: boolean;
  /** What the sums are over, ms: since the sample before; 0 for the first one, and when there was no new one. */
  readonly sinceMs: number;
  readonly waiting: number;
  readonly inFlight: number;
  readonly delayed: number;
  readonly dead: number;
  /** Replicas that exist, those that are up, and those that the pool should have. */
  readonly replicas: number;
  readonly ready: number;
  readonly desired: number;
  /** Replicas that were asked for before the step, and what the step made of that; `undefined` when it left them. */
  readonly wanted: number;
  readonly scaled: { readonly from: number; readonly to: number } | undefined;
  /** Tasks that came and that were taken, counted or not: plain workers are seen by what is missing in the list. */
  readonly arrived: number;
  readonly taken: number;
  readonly completed: number;
  readonly failed: number;
  readonly retried: number;
  /** Sum of the service times of the last three, ms. */
  readonly serviceMs: number;
  /** How long the taken tasks had waited, to within the time between two samples. */
  readonly waits: readonly Wait[];
  /** How long each replica took that came up, from when it was asked for, ms. Where nobody saw that, it is left out. */
  readonly startsMs: readonly number[];
  /** The decision: why, and in words. */
  readonly cause: string;
  readonly reason: string;
  readonly numbers: Numbers;
}

type Changes = Pick<
  Observation,
  'sinceMs' | 'arrived' | 'taken' | 'completed' | 'failed' | 'retried' | 'serviceMs'
>;

const NO_CHANGES: Changes = {
  sinceMs: 0,
  arrived: 0,
  taken: 0,
  completed: 0,
  failed: 0,
  retried: 0,
  serviceMs: 0,
};

/** What is remembered from one look to the next. */
export interface Baseline {
  /** The last one that was known. */
  readonly sample: PoolSample | undefined;
  readonly curve: Curve;
  readonly ready: number;
  readonly starts: readonly Starting[];
}

interface ObservationInput {
  /** By a monotonic clock. */
  readonly now: number;
  /** The same moment in ms since the epoch. */
  readonly wall?: number;
  readonly sampled: Sampled;
  readonly step: Step;
}

/** After a step: what happened since `before`, the last look; `undefined` before the first one. */
export function observe(
  { now, wall = now, sampled, step }: ObservationInput,
  before: Baseline | undefined,
): { readonly observation: Observation; readonly baseline: Baseline } {
  const { replicas, decision, scaled } = step;
  const known = sampled.kind === 'known';
  const sample = known ? sampled.sample : before?.sample;
  const last = before?.sample;
  const changes = (known && last && changesBetween(last, sampled.sample)) || NO_CHANGES;
  const { curve, waits } =
    known && sampled.sample !== last
      ? withSample(sampled.sample, sampled.quietUntil, last && changes !== NO_CHANGES ? before : undefined)
      : { curve: before?.curve ?? [], waits: [] };
  const { starts, startsMs } = startsAfter(step, now, before);
  return {
    observation: {
      at: wall,
      elapsed: now,
      known,
      ...changes,
      waiting: sample?.waiting ?? 0,
      inFlight: sample?.inFlight ?? 0,
      delayed: sample?.delayed ?? 0,
      dead: sample?.dead ?? 0,
      replicas: replicas.existing,
      ready: replicas.ready,
      desired: decision.desired,
      wanted: replicas.wanted,
      scaled,
      waits,
      startsMs,
      cause: decision.cause,
      reason: decision.reason,
      numbers: withLearned(decision),
    },
    baseline: {
      sample,
      curve,
      ready: replicas.ready,
      starts:
        scaled && scaled.to > scaled.from
          ? [...starts, { at: now, replicas: scaled.to - scaled.from }]
          : starts,
    },
  };
}

/** What happened between two samples; `undefined` when the second is of another Redis, or of one that was emptied. */
export function changesBetween(before: PoolSample, after: PoolSample): Changes | undefined {
  if (wentBack(before, after)) return undefined;
  const grown = (of: (sample: PoolSample) => number): number => Math.max(0, of(after) - of(before));
  const arrived = cameBetween(before, after);
  return {
    sinceMs: grown(({ now }) => now),
    arrived,
    taken: Math.max(0, arrived + before.waiting - after.waiting),
    completed: grown(({ counters }) => counters.completed),
    failed: grown(({ counters }) => counters.failed),
    retried: grown(({ counters }) => counters.retried),
    serviceMs: grown(({ counters }) => counters.serviceUs / 1e3),
  };
}

type Contents = Pick<PoolSample, 'waiting' | 'counters'>;

/** What was handed back waits again and is taken no more, so it does not count as having come twice. */
function cameBetween(before: Contents, after: Contents): number {
  return Math.max(0, after.counters.taken + after.waiting - before.counters.taken - before.waiting);
}

function withLearned({ numbers, memory: { learned } }: Decision): Numbers {
  const waitMs = numbers.target?.waitMs;
  return learned && waitMs !== undefined ? { ...numbers, learned: learnedNumbers(learned, waitMs) } : numbers;
}

/** The curve goes on with every sample, by the clock of Redis. `quietUntil`: when the queues were still empty, if known. */
function withSample(
  { now, waiting, counters }: PoolSample,
  quietUntil: number | undefined,
  before: Baseline | undefined,
): Pick<Observation, 'waits'> & Pick<Baseline, 'curve'> {
  const { sample, curve = [] } = before ?? {};
  const last = curve.at(-1);
  if (!last || !sample) return { curve: [pointAt(now, waiting, 0)], waits: [] };
  const arrived = cameBetween(sample, { waiting, counters });
  const taken = arrived + sample.waiting - waiting;
  // a list in which nothing moved: when that was seen is all there is to remember
  if (waiting === 0 && arrived === 0 && taken === 0) return { curve: [{ ...last, at: now }], waits: [] };
  const quiet = quietUntil !== undefined && quietUntil > last.at && quietUntil < now;
  const since = quiet ? [...curve, { ...last, at: quietUntil }] : curve;
  const look = pointAt(now, last.arrived + arrived + Math.max(0, -taken), last.taken + Math.max(0, taken));
  return { curve: withPoint(since, look, 0), waits: waitsOf([...since, look]) };
}

function pointAt(at: number, arrived: number, taken: number): CurvePoint {
  return { at, arrived, taken, done: 0, runMs: 0 };
}

/** Which replicas came up, and how long that took. What was starting before the first look began nobody knows when. */
function startsAfter(
  { replicas: { wanted, ready } }: Step,
  now: number,
  before: Baseline | undefined,
): { starts: readonly Starting[]; startsMs: readonly number[] } {
  const starting = Math.max(0, wanted - ready);
  if (!before) return { starts: starting > 0 ? [{ at: Number.NaN, replicas: starting }] : [], startsMs: [] };
  const up = Math.max(0, ready - before.ready);
  const { starts, tookMs } = settleStarts(before.starts, undefined, { starting, up, now });
  return { starts, startsMs: tookMs.filter(Number.isFinite) };
}

function wentBack({ counters: before }: PoolSample, { counters: after }: PoolSample): boolean {
  return (['completed', 'failed', 'retried', 'cancelled', 'serviceUs'] as const).some(
    (name) => after[name] < before[name],
  );
}
