/** What a worker tells Prometheus. Times in seconds, as is the custom there. */
import { createCounter, createHistogram, createMetrics, type MetricsSource } from '../runtime/metrics.ts';
import type { Outcome } from './run.ts';

export interface WorkerMetrics extends MetricsSource {
  of(queue: string): QueueMetrics;
}

/** What is counted of one queue. */
export interface QueueMetrics {
  taken(tasks: number): void;
  finished(outcome: Outcome['kind'], serviceSeconds: number): void;
  /** Settled tasks that too few replicas of Redis confirmed in time. */
  notReplicated(tasks: number): void;
}

export function createWorkerMetrics(): WorkerMetrics {
  const taken = createCounter('millrace_tasks_taken_total', 'Tasks taken from the queue.');
  const finished = createCounter('millrace_tasks_finished_total', 'Tasks that ended here, by outcome.');
  const service = createHistogram(
    'millrace_task_service_seconds',
    'How long the handler ran for a task.',
    [0.001, 0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800],
  );
  const notReplicated = createCounter(
    'millrace_tasks_not_replicated_total',
    'Settled tasks that too few replicas of Redis confirmed in time.',
  );
  return {
    ...createMetrics([taken, finished, service, notReplicated]),
    of: (queue) => {
      const labels = { queue };
      const ended: Record<Outcome['kind'], Record<string, string>> = {
        result: { queue, outcome: 'result' },
        retry: { queue, outcome: 'retry' },
        dead: { queue, outcome: 'dead' },
        cancelled: { queue, outcome: 'cancelled' },
        release: { queue, outcome: 'release' },
      };
      const observe = service.of(labels);
      for (const counter of [taken, notReplicated]) counter.inc(labels, 0);
      return {
        taken: (tasks) => taken.inc(labels, tasks),
        finished: (outcome, seconds) => {
          finished.inc(ended[outcome]);
          observe(seconds);
        },
        notReplicated: (tasks) => notReplicated.inc(labels, tasks),
      };
    },
  };
}
