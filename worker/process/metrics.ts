/** The worker's metrics, listed in docs/metrics.md. Durations are in seconds, per Prometheus convention. */
import {
  createCounter,
  createGauge,
  createHistogram,
  createMetrics,
  processTallies,
  type MetricsSource,
  type Tally,
} from '../../runtime/metrics.ts';
import { version } from '../../runtime/version.ts';
import type { Outcome } from '../../queue/outcomes/outcome.ts';

export interface WorkerMetrics extends MetricsSource {
  readonly tallies: readonly Tally[];
  of(queue: string): QueueMetrics;
  /** Sets where the slots are read from. */
  watchSlots(slots: { readonly total: number; readonly busy: number }): void;
  /** Slots in which a task runs. */
  busySlots(): number;
  redisFailed(what: RedisFailure): void;
}

/** `connection`: it was lost, or could not be made. `register`, `turn`: Redis refused or did not answer. */
type RedisFailure = 'connection' | 'register' | 'turn';

/** What is counted of one queue. */
export interface QueueMetrics {
  taken(tasks: number): void;
  finished(outcome: Outcome['kind'], serviceSeconds: number): void;
  /** A task was not run, because it had expired. */
  expired(): void;
  /** … because another one has its key. */
  duplicate(): void;
  /** From sending a turn to its reply. */
  turned(seconds: number): void;
  turnFailed(): void;
  /** The lease was lost, and running tasks were dropped. */
  fenced(): void;
  /** Settled tasks that too few replicas of Redis confirmed in time. */
  notReplicated(tasks: number): void;
}

export function createWorkerMetrics(): WorkerMetrics {
  const taken = createCounter('millrace_tasks_taken_total', 'Tasks taken from the queue.', ['queue']);
  const finished = createCounter('millrace_tasks_finished_total', 'Tasks that ended here, by outcome.', [
    'queue',
    'outcome',
  ]);
  const service = createHistogram(
    'millrace_task_service_seconds',
    'How long the handler ran for a task, in seconds.',
    [0.001, 0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800],
    ['queue'],
  );
  const turn = createHistogram(
    'millrace_turn_seconds',
    'Time from sending a turn to Redis to its reply, retries included, in seconds.',
    [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5, 30],
    ['queue'],
  );
  const fenced = createCounter(
    'millrace_worker_fenced_total',
    'Times that this worker lost its lease and its running tasks were dropped.',
    ['queue'],
  );
  const notReplicated = createCounter(
    'millrace_tasks_not_replicated_total',
    'Settled tasks that too few replicas of Redis confirmed in time.',
    ['queue'],
  );
  const errors = createCounter(
    'millrace_redis_errors_total',
    'Times that Redis refused, did not answer or was unreachable, by operation.',
    ['operation'],
  );
  const failures = {
    connection: { operation: 'connection' },
    register: { operation: 'register' },
    turn: { operation: 'turn' },
  };
  for (const failure of Object.values(failures)) errors.inc(failure, 0);
  let slots = { total: 0, busy: 0 };
  const tallies = [
    taken,
    finished,
    service,
    turn,
    fenced,
    notReplicated,
    errors,
    createGauge('millrace_worker_slots', 'Maximum number of tasks that run at a time.', () => slots.total),
    createGauge('millrace_worker_slots_busy', 'Slots in which a task runs.', () => slots.busy),
    createGauge('millrace_build_info', 'Always 1; the version is in the label.', () => 1, { version }),
    ...processTallies(),
  ];
  return {
    ...createMetrics(tallies),
    tallies,
    watchSlots: (now) => (slots = now),
    busySlots: () => slots.busy,
    redisFailed: (what) => errors.inc(failures[what]),
    of: (queue) => {
      const labels = { queue };
      const ended: Record<Outcome['kind'] | 'expired' | 'duplicate', Record<string, string>> = {
        result: { queue, outcome: 'result' },
        retry: { queue, outcome: 'retry' },
        dead: { queue, outcome: 'dead' },
        cancelled: { queue, outcome: 'cancelled' },
        release: { queue, outcome: 'release' },
        expired: { queue, outcome: 'expired' },
        duplicate: { queue, outcome: 'duplicate' },
      };
      const observe = service.of(labels);
      const turned = turn.of(labels);
      for (const counter of [taken, notReplicated, fenced]) counter.inc(labels, 0);
      for (const outcome of Object.values(ended)) finished.inc(outcome, 0);
      return {
        taken: (tasks) => taken.inc(labels, tasks),
        finished: (outcome, seconds) => {
          finished.inc(ended[outcome]);
          observe(seconds);
        },
        expired: () => finished.inc(ended.expired),
        duplicate: () => finished.inc(ended.duplicate),
        turned,
        turnFailed: () => errors.inc(failures.turn),
        fenced: () => fenced.inc(labels),
        notReplicated: (tasks) => notReplicated.inc(labels, tasks),
      };
    },
  };
}
