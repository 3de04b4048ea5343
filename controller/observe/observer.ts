/** Creates an observation of each step of a reconcile and passes it on. */
import { keyOf } from '../../kube/watch.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { Step } from '../act/step.ts';
import type { Journal } from '../process/journal.ts';
import { hasNothing, type Sampled } from '../sample/sampled.ts';
import type { ControllerMetrics } from './metrics.ts';
import { observe, type Observation, type Baseline } from './observation.ts';

/** The state of this stage for a pool, from one reconcile to the next. */
export interface ObserveState {
  baseline: Baseline | undefined;
  /** The numbers of partitions, or the priorities, whose lists the baseline is of; `undefined` without either. */
  lists: string | undefined;
  /** The last wake whose tasks were sampled, by performance.now(). */
  wokenAt: number | undefined;
}

export function initialObserveState(): ObserveState {
  return { baseline: undefined, lists: undefined, wokenAt: undefined };
}

export interface ObserveDeps {
  readonly metrics: ControllerMetrics;
  readonly journal: Pick<Journal, 'during'>;
  /** Receives each observation. It must not throw, and is not awaited. */
  readonly observed: (pool: WorkerPool, observation: Observation) => void;
}

export interface ObserveInput {
  readonly pool: WorkerPool;
  readonly sampled: Sampled;
  readonly step: Step;
  /** The same of the sample. */
  readonly lists: string | undefined;
  /** ms of the elapsed clock, and the same moment in ms since the epoch. */
  readonly now: number;
  readonly wall: number;
}

export function observeStep(
  { metrics, journal, observed: receive }: ObserveDeps,
  input: ObserveInput,
  state: ObserveState,
): void {
  const { pool, sampled, lists } = input;
  // other lists have other counters
  if (state.baseline && state.lists !== lists)
    state.baseline = { ...state.baseline, sample: undefined, curve: [] };
  state.lists = lists;
  const { observation, baseline } = journal.during(
    keyOf(pool),
    () => observe(input, state.baseline),
    hasNothing(sampled) ? 'seen' : undefined,
  );
  state.baseline = baseline;
  receive(pool, observation);
  const wokenAt = wakeAnswered(sampled, state.wokenAt);
  if (wokenAt === undefined) return;
  metrics.pools.woken(pool, (performance.now() - wokenAt) / 1e3);
  state.wokenAt = wokenAt;
}

/** The wake whose tasks this sample is the first to contain; each wake counts once. */
function wakeAnswered(sampled: Sampled, before: number | undefined): number | undefined {
  if (sampled.kind === 'unknown' || sampled.wokenAt === before) return undefined;
  const { waiting, inFlight, due } = sampled.sample;
  return waiting + inFlight + due === 0 ? undefined : sampled.wokenAt;
}
