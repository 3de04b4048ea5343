/** What a worker tells Prometheus. Times in seconds, as is the custom there. */
import { Counter, Histogram, Registry } from 'prom-client';
import type { Outcome } from './run.ts';

export interface WorkerMetrics {
  readonly registry: Registry;
  taken(tasks: number): void;
  finished(outcome: Outcome['kind'], serviceSeconds: number): void;
  /** Settled tasks that too few replicas of Redis confirmed in time. */
  notReplicated(tasks: number): void;
}

export function createWorkerMetrics(queue: string): WorkerMetrics {
  const registry = new Registry();
  registry.setDefaultLabels({ queue });
  const registers = [registry];
  const taken = new Counter({
    name: 'millrace_tasks_taken_total',
    help: 'Tasks taken from the queue.',
    registers,
  });
  const finished = new Counter({
    name: 'millrace_tasks_finished_total',
    help: 'Tasks that ended here, by outcome.',
    registers,
    labelNames: ['outcome'],
  });
  const service = new Histogram({
    name: 'millrace_task_service_seconds',
    help: 'How long the handler ran for a task.',
    registers,
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800],
  });
  const notReplicated = new Counter({
    name: 'millrace_tasks_not_replicated_total',
    help: 'Settled tasks that too few replicas of Redis confirmed in time.',
    registers,
  });
  return {
    registry,
    notReplicated: (tasks) => notReplicated.inc(tasks),
    taken: (tasks) => taken.inc(tasks),
    finished: (outcome, seconds) => {
      finished.inc({ outcome });
      service.observe(seconds);
    },
  };
}
