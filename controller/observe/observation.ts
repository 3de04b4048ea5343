/**
 * `controller/observe/` takes two samples and a step and returns what happened between them as one value, and the metrics
 * made of it. It does not know who stores or shows that.
 *
 * An observation is what happened in a pool between two samples, for the timeline, metrics and the dashboard, whichever rule the
 * pool uses. Pure.
 *
 * It is computed from two samples of the queue (their counters and lengths), the curve of arrivals between them, and the replicas
 * that were requested and became ready. Sums are never negative: counters that were reset, as after a flush of Redis, result in
 * zeros, and so does the first sample. The state for the next one is small, and nearly empty for an idle pool.
 */
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import { cohorts, waitsOf, withPoint, type Curve, type CurvePoint } from '../decide/target-wait/arrivals.ts';
import type { Decision, Numbers } from '../decide/decision.ts';
import { settleStarts, type Starting } from '../decide/target-wait/start-time.ts';
import { learnedNumbers } from '../decide/numbers.ts';
import type { Sampled } from '../sample/sampled.ts';
import type { Step } from '../act/step.ts';
import type { Wait } from '../decide/target-wait/waits.ts';

export interface Observation {
  /** ms since the epoch. */
  readonly at: number;
  /** The same moment by a monotonic clock: for durations between observations. */
  readonly elapsed: number;
  /** Whether the queue could be read. If not, its contents are those of the last sample, and all sums are zero. */
  readonly known: boolean;
  /** The period of the sums, ms: since the previous sample; 0 for the first one, or if there was no new one. */
  readonly sinceMs: number;
  readonly waiting: number;
  readonly inFlight: number;
  readonly delayed: number;
  readonly dead: number;
  /** Replicas that exist, those that are ready, and those that the pool should have. */
  readonly replicas: number;
  readonly ready: number;
  readonly desired: number;
  /** Of the replicas, those that are parked; absent where the pool parks none. */
  readonly parked?: number;
  /** Requested replicas before the step, and the step's change of them; `undefined` if there was none. */
  readonly wanted: number;
  readonly scaled: { readonly from: number; readonly to: number } | undefined;
  /**
   * Tasks that arrived and that were taken, including those that plain workers took, which are inferred from the length of the
   * list.
   */
  readonly arrived: number;
  readonly taken: number;
  readonly completed: number;
  readonly failed: number;
  readonly retried: number;
  /** Sum of the service times of completed, failed and retried tasks, ms. */
  readonly serviceMs: number;
  /** How long the taken tasks had waited, with the precision of the sampling interval. */
  readonly waits: readonly Wait[];
  /** Age of the oldest waiting task, ms, with the same precision; a task that was there at the first sample is as old as that. */
  readonly oldestMs: number;
  /** The start time of each replica that became ready, from the request, ms. Omitted where the request was not observed. */
  readonly startsMs: readonly number[];
  /** The decision: its cause, for programs, and its reason, human-readable. */
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

/** The state that the next observation starts from. */
export interface Baseline {
  /** The last known one. */
  readonly sample: PoolSample | undefined;
  /** When that was read, by performance.now(). */
  readonly readAt: number | undefined;
  /** By the clock of Redis. Empty where nothing has come or waited since the sample. */
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

/** The observation after a step: what happened since `earlier`, which is `undefined` for the first one. */
export function observe(
  { now, wall = now, sampled, step }: ObservationInput,
  earlier: Baseline | undefined,
): { readonly observation: Observation; readonly baseline: Baseline } {
  const { replicas, decision, scaled } = step;
  const known = sampled.kind === 'known';
  const before = known && earlier ? withClockOf(sampled, earlier) : earlier;
  const sample = known ? sampled.sample : before?.sample;
  const last = before?.sample;
  const changes = (known && last && changesBetween(last, sampled.sample)) || NO_CHANGES;
  const { curve, waits } =
    known && sampled.sample !== last
      ? withSample(sampled.sample, sampled.quietUntil, last && changes !== NO_CHANGES ? before : undefined)
      : { curve: before?.curve ?? NO_CURVE, waits: [] };
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
      ...(replicas.parked && { parked: replicas.parked.parked }),
      wanted: replicas.wanted,
      scaled,
      waits,
      oldestMs: sample ? (cohorts(curve, sample.waiting, sample.now)[0]?.oldest ?? 0) : 0,
      startsMs,
      cause: decision.cause,
      reason: decision.reason,
      numbers: withLearned(decision),
    },
    baseline: {
      sample,
      readAt: known ? sampled.readAt : before?.readAt,
      curve,
      ready: replicas.ready,
      starts:
        scaled && scaled.to > scaled.from
          ? [...starts, { at: now, replicas: scaled.to - scaled.from }]
          : starts,
    },
  };
}

/** A server whose clock differs by more from the time that has passed had it set, or is another one, ms. */
const CLOCK_SET_MS = 30_000;

/** The baseline by the clock of Redis as it is now: what it was set by is no time for which tasks have waited. */
function withClockOf({ sample, readAt }: Sampled & { readonly kind: 'known' }, before: Baseline): Baseline {
  const last = before.sample;
  if (!last || last === sample || readAt === undefined || before.readAt === undefined) return before;
  const setBy = sample.now - last.now - (readAt - before.readAt);
  if (Math.abs(setBy) <= CLOCK_SET_MS) return before;
  return {
    ...before,
    sample: { ...last, now: last.now + setBy },
    curve: before.curve.map((point) => ({ ...point, at: point.at + setBy })),
  };
}

/** The changes between two samples; `undefined` if the second is from another Redis, or after a flush. */
export function changesBetween(before: PoolSample, after: PoolSample): Changes | undefined {
  if (wentBack(before, after)) return undefined;
  const grown = (of: (sample: PoolSample) => number): number => Math.max(0, of(after) - of(before));
  const arrived = arrivedBetween(before, after);
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

/** A task that was handed back is waiting and no longer counted as taken, so it does not count as another arrival. */
function arrivedBetween(before: Contents, after: Contents): number {
  return Math.max(0, after.counters.taken + after.waiting - before.counters.taken - before.waiting);
}

function withLearned({ numbers, memory: { learned } }: Decision): Numbers {
  const waitMs = numbers.target?.waitMs;
  return learned && waitMs !== undefined ? { ...numbers, learned: learnedNumbers(learned, waitMs) } : numbers;
}

/**
 * Extends the curve with each sample, by the clock of Redis. `quietUntil`: the last moment at which the queues were empty, if
 * known.
 */
function withSample(
  { now, waiting, counters }: PoolSample,
  quietUntil: number | undefined,
  before: Baseline | undefined,
): Pick<Observation, 'waits'> & Pick<Baseline, 'curve'> {
  const { sample, curve = NO_CURVE } = before ?? {};
  if (!sample) return { curve: waiting > 0 ? [pointAt(now, waiting, 0)] : NO_CURVE, waits: [] };
  const last = curve.at(-1) ?? pointAt(sample.now, 0, 0);
  const arrived = arrivedBetween(sample, { waiting, counters });
  const taken = arrived + sample.waiting - waiting;
  if (waiting === 0 && arrived === 0 && taken === 0) return { curve: NO_CURVE, waits: [] };
  const quiet = quietUntil !== undefined && quietUntil > last.at && quietUntil < now;
  const known = curve.length > 0 ? curve : [last];
  const since = quiet ? [...known, { ...last, at: quietUntil }] : known;
  const point = pointAt(now, last.arrived + arrived + Math.max(0, -taken), last.taken + Math.max(0, taken));
  return { curve: withPoint(since, point, 0), waits: waitsOf([...since, point]) };
}

/** One array for thousands of idle pools. */
const NO_CURVE: Curve = [];

function pointAt(at: number, arrived: number, taken: number): CurvePoint {
  return { at, arrived, taken, done: 0, runMs: 0 };
}

/**
 * Replicas that became ready, and their start times. The start of those that were starting at the first observation is unknown.
 */
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
