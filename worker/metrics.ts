/** What a worker tells Prometheus. Times in seconds, as is the custom there. */
import {
  createCounter,
  createHistogram,
  createLabelledCounter,
  createMetrics,
  type MetricsSource,
} from '../runtime/metrics.ts';
import type { Outcome } from './run.ts';

export interface WorkerMetrics extends MetricsSource {
  taken(tasks: number): void;
  finished(outcome: Outcome['kind'], serviceSeconds: number): void;
}

export function createWorkerMetrics(queue: string): WorkerMetrics {
  const taken = createCounter('millrace_tasks_taken_total', 'Tasks taken from the queue.');
  const finished = createLabelledCounter<Outcome['kind']>(
    'millrace_tasks_finished_total',
    'Tasks that ended here, by outcome.',
    'outcome',
  );
  const service = createHistogram(
    'millrace_task_service_seconds',
    'How long the handler ran for a task.',
    [0.001, 0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800],
  );
  return {
    ...createMetrics({ queue }, [taken, finished, service]),
    taken: (tasks) => taken.inc(tasks),
    finished: (outcome, seconds) => {
      finished.inc(outcome);
      service.observe(seconds);
    },
  };
}
