/**
 * `cli/simulate/` takes a trace file or a seed and returns a report. The simulation itself is the business of `simulate/`.
 *
 * `millrace simulate`: replays a trace against a pool's policy and other autoscalers. The policy is the controller's own code; the
 * trace comes from a file, or is generated from a seed.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { parkedPodsOf } from '../../controller/act/parked/size.ts';
import type { Policy } from '../../controller/decide/decision.ts';
import { policyOf } from '../../controller/decide/policy.ts';
import { withDefaults, type WorkerPoolSpecInput } from '../../kube/defaults.ts';
import { RunAs } from '../../kube/workerpool.ts';
import { parseQuantity } from '../../kube/quantity.ts';
import { UsageError } from '../../runtime/program.ts';
import { formatDuration } from '../../runtime/duration.ts';
import { plural } from '../../runtime/plural.ts';
import type { Parking } from '../../simulate/autoscaler.ts';
import { compare } from '../../simulate/compare.ts';
import { generate, type TraceKind } from '../../simulate/generate.ts';
import type { Peer } from '../../simulate/peers.ts';
import { parseTrace, type TaskTrace } from '../../simulate/trace.ts';
import { chartSvg } from './chart-svg.ts';
import { readPool } from '../access/pool-file.ts';
import { print, type Output } from '../terminal/output.ts';
import { adviceLines, comparedChart, comparedRows, comparedTable, parkedLine } from './report.ts';

export interface SimulateFlags {
  readonly pool?: string;
  readonly trace?: string;
  readonly generate: TraceKind;
  readonly seed: number;
  /** Of a generated trace: ms, tasks a second, ms. */
  readonly duration: number;
  readonly rate: number;
  readonly service: number;
  readonly startTime: number;
  readonly begin?: number;
  readonly target?: number;
  readonly slots?: number;
  readonly max?: number;
  readonly parked?: number;
  readonly against: readonly Peer[];
  readonly chart?: string;
  readonly explain?: boolean;
  readonly output: Output;
}

/** A Monday: an ordinary day, if none is given. */
const MONDAY = Date.UTC(2026, 0, 5);
const USUAL_TARGET_MS = 10_000;
const LEAST_TARGET_MS = 100;
const MOST_TARGET_MS = 24 * 3_600_000;
/** Without a pool that says what they request: 10m of 500m. */
const USUAL_PARKED_SHARE = 0.02;
/** Number of points of a chart over the length of the trace. */
const NOTES = 400;

export async function simulateCommand(flags: SimulateFlags): Promise<void> {
  const trace = flags.trace ? await readTraceFile(flags.trace) : generated(flags);
  if (trace.arrivals.length === 0)
    throw new UsageError('the trace has no tasks: give a longer --duration or a higher --rate');
  const pool = flags.pool ? await readPool(flags.pool) : undefined;
  if (pool?.runAs === RunAs.Job)
    throw new UsageError(
      'the pool runs a Kubernetes Job for each task, and only workers are simulated: remove spec.runAs',
    );
  const policy = policyFor(flags, pool);
  checkTarget(policy);
  const parking = parkingFor(flags, pool);
  if (parking && parking.replicas > policy.maxReplicas)
    throw new UsageError(
      `${plural(parking.replicas, 'parked replica is', 'parked replicas are')} more than the largest number of replicas, ${policy.maxReplicas}: lower --parked, or raise --max`,
    );
  const targetMs = policy.targetWaitMs ?? USUAL_TARGET_MS;
  const { slots = 1 } = policy;
  const noteMs = Math.max(1_000, (trace.arrivals.at(-1) ?? 0) / NOTES);
  const setting = {
    startMs: flags.startTime,
    beginMs: flags.begin ?? trace.beginMs ?? MONDAY,
    slots,
    seed: flags.seed,
    noteMs,
  };
  const rows = compare(trace, policy, targetMs, flags.against, setting, parking);
  if (flags.chart) await writeChart(flags.chart, chartSvg(comparedChart(trace, rows, targetMs)));
  const about = {
    trace: trace.name,
    targetMs,
    startMs: flags.startTime,
    slots,
    ...(parking && { parked: parking }),
  };
  await print(flags.output, { ...about, policies: comparedRows(rows) }, () => {
    const decisions = (flags.explain ? (rows[0]?.run.decisions ?? []) : []).map(
      ({ at, reason }) => `${(at / 1_000).toFixed(1).padStart(8)} s  ${reason}\n`,
    );
    return [
      ...decisions,
      `${trace.name}: ${plural(trace.arrivals.length, 'task')}, target ${targetMs / 1_000} s\n`,
      comparedTable(rows) + parkedLine(parking) + adviceLines(rows),
      ...(flags.chart ? [`chart: ${flags.chart}\n`] : []),
    ].join('');
  });
}

/** The policy of the pool's file, or one with only a target. A target on the command line replaces the pool's rules. */
function policyFor(
  { target, slots, max }: SimulateFlags,
  pool: Partial<WorkerPoolSpecInput> | undefined,
): Policy {
  const spec = withDefaults({ redis: {}, ...(pool ?? { maxReplicas: 50 }) });
  const own = policyOf(spec);
  return {
    ...own,
    ...(pool && target === undefined
      ? {}
      : { targetWaitMs: target ?? USUAL_TARGET_MS, tasksPerReplica: undefined, windowMs: undefined }),
    ...(slots === undefined ? {} : { slots }),
    ...(max === undefined ? {} : { maxReplicas: max }),
    paused: false,
  };
}

async function writeChart(path: string, svg: string): Promise<void> {
  try {
    await writeFile(path, svg);
  } catch (cause) {
    throw new Error(`the chart cannot be written, check --chart: ${(cause as Error).message}`, { cause });
  }
}

/** As in the definition of pools. */
function checkTarget({ targetWaitMs = USUAL_TARGET_MS }: Policy): void {
  if (targetWaitMs >= LEAST_TARGET_MS && targetWaitMs <= MOST_TARGET_MS) return;
  throw new UsageError(
    `a pool cannot have a target wait of ${formatDuration(targetWaitMs)}: give one from ${formatDuration(LEAST_TARGET_MS)} to ${formatDuration(MOST_TARGET_MS)}`,
  );
}

/** The pods that the command line or the pool wants parked. Throws `UsageError` if those of the pool's template cannot be. */
function parkingFor(
  { parked: asked }: SimulateFlags,
  pool: Partial<WorkerPoolSpecInput> | undefined,
): Parking | undefined {
  const replicas = asked ?? pool?.parked?.replicas ?? 0;
  if (replicas === 0) return undefined;
  if (!pool?.parked) return { replicas, share: USUAL_PARKED_SHARE };
  const pods = parkedPodsOf({ spec: withDefaults({ redis: {}, ...pool }) });
  if (!pods || pods.unfit !== undefined)
    throw new UsageError(
      `the pods of the pool cannot be parked: ${pods?.unfit ?? 'it has no template'}. Mend that, or give --parked 0`,
    );
  const { full, parked } = pods.sizes;
  return { replicas, share: cpuOf(parked) / cpuOf(full) };
}

function cpuOf(requests: Readonly<Record<string, string>> | undefined): number {
  return parseQuantity(requests?.['cpu']) ?? 1;
}

function generated({ generate: kind, seed, duration, rate, service }: SimulateFlags): TaskTrace {
  return generate(kind, { seed, durationMs: duration, rate, serviceMs: service });
}

/** Throws `UsageError` in one line if the file cannot be read or is not a trace. */
export async function readTraceFile(path: string): Promise<TaskTrace> {
  try {
    return parseTrace(basename(path), await readFile(path, 'utf8'));
  } catch (error) {
    throw new UsageError(`the trace cannot be used: ${(error as Error).message}`, { cause: error });
  }
}
