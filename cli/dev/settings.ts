/**
 * What `millrace dev` works with: its flags, over what a WorkerPool's YAML says, over the defaults of WorkerPool. Two
 * defaults are a laptop's rather than a cluster's: as many replicas as there are cores, and a window of 10 s (but with
 * `--target-wait`, where the pool learns what is worth keeping).
 */
import { cronTimesOf } from '../../controller/decide/cron.ts';
import { policyOf } from '../../controller/decide/policy.ts';
import type { Policy } from '../../controller/decide/decision.ts';
import { withDefaults, type WorkerPoolSpecInput } from '../../kube/defaults.ts';
import { Mode, RunAs, type WorkerPoolSpec } from '../../kube/workerpool.ts';
import { parseBytes } from '../../runtime/bytes.ts';
import { formatConcurrency, type Concurrency } from '../../runtime/concurrency.ts';
import { formatDuration, parseDuration } from '../../runtime/duration.ts';
import { MAX_RESULT_BYTES } from '../../worker/task/encode.ts';
import type { HandlerFlags } from '../../worker/flags/handler-flags.ts';
import { UsageError } from '../../runtime/program.ts';
import { plural } from '../../runtime/plural.ts';
import type { Level } from '../../queue/priorities.ts';
import { checkLimits, type QueueLimits } from '../../queue/limits/definition.ts';
import { changed, hasChanges, type LimitFlags } from '../access/limit-flags.ts';

export interface DevFlags extends HandlerFlags, LimitFlags {
  readonly min?: number;
  readonly max?: number;
  readonly tasksPerReplica?: number;
  /** ms. */
  readonly targetWait?: number;
  readonly concurrency?: Concurrency;
  /** ms. */
  readonly window?: number;
  /** Only if given: their defaults would hide the pool's. */
  readonly queue?: string | undefined;
  readonly result?: string | undefined;
  readonly partitions?: readonly number[] | undefined;
  readonly priorities?: readonly Level[] | undefined;
}

export interface DevSettings {
  /** The complete spec, as of a pool in a cluster. */
  readonly spec: WorkerPoolSpec;
  readonly policy: Policy;
  readonly dryRun: boolean;
  readonly queue: string;
  /** Several queues instead, by priority. */
  readonly queues: readonly string[] | undefined;
  /** The numbers of lists that the queue is in; `undefined` for the plain one. */
  readonly partitions: readonly number[] | undefined;
  /** Those of the queue that have lists of their own. */
  readonly priorities: readonly Level[] | undefined;
  readonly result: string;
  /** `4`, or `auto:1-32`. */
  readonly concurrency: number | string;
  readonly retry: {
    readonly attempts: number;
    readonly maxDeliveries: number;
    readonly backoff: { readonly initialMs: number; readonly maxMs: number; readonly jitter: boolean };
  };
  readonly tasks: { readonly maxBytes: number };
  readonly results: { readonly ttlMs: number; readonly maxBytes: number };
  readonly deadLetters: { readonly max: number; readonly maxAgeMs: number };
}

function concurrencyIn({ concurrency }: DevFlags): number | string | undefined {
  return concurrency === undefined ? undefined : formatConcurrency(concurrency);
}

/** As in the CRD. */
const MIN_TARGET_MS = 100;

/** Throws `UsageError` in one line for settings that contradict one another or that a pool must not have. */
export function devSettings(
  flags: DevFlags,
  pool: Partial<WorkerPoolSpecInput> | undefined,
  cores: number,
): DevSettings {
  const laptop = {
    maxReplicas: Math.max(cores, pool?.minReplicas ?? 0, flags.min ?? 0),
    // with a target, the pool learns what is worth keeping
    scaling: flags.targetWait === undefined ? { scaleDown: { window: '10s' } } : {},
  };
  const spec = withDefaults({
    redis: {},
    ...(pool ?? laptop),
    ...given('queue', flags.queue),
    ...given('result', flags.result),
    ...given('partitions', flags.partitions?.at(-1)),
    ...given('priorities', flags.priorities && [...flags.priorities]),
    ...given('concurrency', concurrencyIn(flags)),
    ...given('minReplicas', flags.min),
    ...given('maxReplicas', flags.max),
    ...given('limits', limitsIn(flags, pool)),
    scaling: {
      ...(pool ?? laptop).scaling,
      ...given('tasksPerReplica', flags.tasksPerReplica),
      ...(flags.targetWait === undefined ? {} : { targetWait: formatDuration(flags.targetWait) }),
      ...(flags.window === undefined ? {} : { scaleDown: { window: formatDuration(flags.window) } }),
    },
  });
  if (spec.source)
    throw new UsageError(
      'the pool has a source, the workers of another library, and millrace dev starts its own: remove spec.source, or use a cluster',
    );
  if (spec.runAs === RunAs.Job)
    throw new UsageError(
      'the pool runs a Kubernetes Job for each task, and millrace dev has local workers: remove spec.runAs, or use a cluster',
    );
  whole('minReplicas (--min)', spec.minReplicas, 0);
  whole('maxReplicas (--max)', spec.maxReplicas, 0);
  if (spec.scaling.tasksPerReplica !== undefined)
    whole('scaling.tasksPerReplica', spec.scaling.tasksPerReplica, 1);
  whole('retry.attempts', spec.retry.attempts, 1);
  whole('deadLetters.max', spec.deadLetters.max, 1);
  whole('retry.maxDeliveries', spec.retry.maxDeliveries, 1);
  if (spec.minReplicas > spec.maxReplicas)
    throw new UsageError(
      `at least ${spec.minReplicas} and at most ${plural(spec.maxReplicas, 'replica')} contradict each other: correct --min or --max`,
    );
  const { attempts, maxDeliveries, backoff } = spec.retry;
  try {
    checkCrons(spec);
    const policy = policyOf(spec);
    if (policy.targetWaitMs !== undefined && policy.targetWaitMs < MIN_TARGET_MS)
      throw new UsageError(
        `scaling.targetWait (--target-wait) is ${spec.scaling.targetWait}: give at least ${formatDuration(MIN_TARGET_MS)}`,
      );
    return {
      spec,
      policy,
      dryRun: spec.mode === Mode.DryRun,
      queue: spec.queue,
      // a queue that is given by a flag is the only one
      queues: flags.queue === undefined ? spec.queues : undefined,
      partitions: partitionsIn(flags, spec),
      priorities: prioritiesIn(flags, spec),
      result: spec.result,
      concurrency: spec.concurrency,
      retry: {
        attempts,
        maxDeliveries,
        backoff: {
          initialMs: parseDuration(backoff.initial),
          maxMs: parseDuration(backoff.max),
          jitter: backoff.jitter,
        },
      },
      tasks: { maxBytes: parseBytes(spec.tasks?.maxSize ?? '16Mi', MAX_RESULT_BYTES) },
      results: {
        ttlMs: parseDuration(spec.results.ttl),
        maxBytes: parseBytes(spec.results.maxSize, MAX_RESULT_BYTES),
      },
      deadLetters: { max: spec.deadLetters.max, maxAgeMs: parseDuration(spec.deadLetters.maxAge) },
    };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`the pool has a value that cannot be used: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Throws `RangeError` for times that cannot be, or a name that two have. */
function checkCrons({ crons = [] }: WorkerPoolSpec): void {
  const at = new Map<string, number>();
  for (const [i, { name, schedule, timeZone }] of crons.entries()) {
    cronTimesOf(schedule, timeZone, `crons[${i}]`, 'schedule');
    const other = at.get(name);
    if (other !== undefined)
      throw new RangeError(`crons[${other}] and crons[${i}] are both called ${name}: rename one of them`);
    at.set(name, i);
  }
}

/** What flags and the file say together. Throws `UsageError`. */
function limitsIn(flags: DevFlags, pool: Partial<WorkerPoolSpecInput> | undefined): QueueLimits | undefined {
  const limits = hasChanges(flags) ? changed(pool?.limits ?? {}, flags) : pool?.limits;
  if (limits === undefined || Object.keys(limits).length === 0) return undefined;
  try {
    return checkLimits(limits, hasChanges(flags) ? 'limits' : 'spec.limits');
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

function partitionsIn(
  { queue, partitions }: DevFlags,
  { queues, partitions: number, limits }: WorkerPoolSpec,
): readonly number[] | undefined {
  const numbers = partitions ?? (number === undefined ? [] : [number]);
  if (!numbers.some((one) => one > 1)) return undefined;
  if (limits) throw new UsageError('a queue in partitions has no limits: omit --partitions, or the limits');
  if (queues && queue === undefined)
    throw new UsageError('several queues cannot have partitions: name one with --queue, or omit partitions');
  return numbers;
}

function prioritiesIn(
  { queue }: DevFlags,
  { queues, partitions = 1, priorities, limits }: WorkerPoolSpec,
): readonly Level[] | undefined {
  if (!priorities) return undefined;
  if (limits || partitions > 1 || (queues && queue === undefined))
    throw new UsageError(
      'priorities are those of one queue without limits and partitions: omit --priorities, or limits, partitions and queues',
    );
  return priorities;
}

function given<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, V>);
}

function whole(field: string, value: unknown, min: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= min) return;
  throw new UsageError(`${field} is ${JSON.stringify(value)}: it must be a whole number from ${min}`);
}
