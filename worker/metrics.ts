/** What a worker tells Prometheus. Times in seconds, as is the custom there. */
import { Counter, Histogram, Registry } from 'prom-client';
import type { Outcome } from './run.ts';

export interface WorkerMetrics {
  readonly registry: Registry;
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
  const registry = new Registry();
  const registers = [registry];
  const taken = new Counter({
    name: 'millrace_tasks_taken_total',
    help: 'Tasks taken from the queue.',
    registers,
    labelNames: ['queue'],
  });
  const finished = new Counter({
    name: 'millrace_tasks_finished_total',
    help: 'Tasks that ended here, by outcome.',
    registers,
    labelNames: ['queue', 'outcome'],
  });
  const service = new Histogram({
    name: 'millrace_task_service_seconds',
    help: 'How long the handler ran for a task.',
    registers,
    labelNames: ['queue'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800],
  });
  const notReplicated = new Counter({
    name: 'millrace_tasks_not_replicated_total',
    help: 'Settled tasks that too few replicas of Redis confirmed in time.',
    registers,
    labelNames: ['queue'],
  });
  return {
    registry,
    of: (queue) => {
      const [takenHere, serviceHere, lateHere] = [
        taken.labels({ queue }),
        service.labels({ queue }),
        notReplicated.labels({ queue }),
      ];
      return {
        taken: (tasks) => takenHere.inc(tasks),
        finished: (outcome, seconds) => {
          finished.inc({ queue, outcome });
          serviceHere.observe(seconds);
        },
        notReplicated: (tasks) => lateHere.inc(tasks),
      };
    },
  };
}
