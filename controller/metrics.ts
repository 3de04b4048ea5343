/** What the controller tells Prometheus. Names as in ARCHITECTURE.md; times in seconds. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { WorkerPoolStatus } from '../kube/workerpool.ts';

export interface ControllerMetrics {
  readonly registry: Registry;
  pool(namespace: string, pool: string, status: WorkerPoolStatus): void;
  forget(namespace: string, pool: string): void;
  scaled(direction: 'up' | 'down', reason: string): void;
  /** The epoch of a dead worker was ended before its lease was. */
  recovered(reason: string): void;
  reconciled(outcome: 'ok' | 'error', seconds: number): void;
  leading(now: boolean): void;
}

export interface ControllerGauges {
  /** Read when somebody scrapes. */
  readonly workqueueDepth: () => number;
  readonly redisServers: () => number;
  readonly watches: () => Readonly<Record<string, { restarts: number; lastEvent: number | undefined }>>;
}

const perPool = {
  millrace_queue_length: ['Tasks waiting in the queue.', 'waiting'],
  millrace_tasks_in_flight: ['Tasks that workers hold.', 'inFlight'],
  millrace_tasks_delayed: ['Retries and scheduled tasks that are not due yet.', 'delayed'],
  millrace_dead_letters: ['Tasks that failed for good.', 'dead'],
  millrace_pool_replicas: ['Replicas that exist.', 'replicas'],
  millrace_pool_ready_replicas: ['Replicas that are ready.', 'readyReplicas'],
  millrace_pool_desired_replicas: ['Replicas that the last decision asked for.', 'desiredReplicas'],
} as const;

export function createControllerMetrics(gauges: ControllerGauges): ControllerMetrics {
  const registry = new Registry();
  const registers = [registry];
  const labelNames = ['namespace', 'pool'] as const;
  collectDefaultMetrics({ register: registry });
  const pools = Object.entries(perPool).map(
    ([name, [help, field]]) => [field, new Gauge({ name, help, labelNames, registers })] as const,
  );
  const actions = new Counter({
    name: 'millrace_scale_actions_total',
    help: 'Times that replicas were changed.',
    registers,
    labelNames: ['direction', 'reason'],
  });
  const recoveries = new Counter({
    name: 'millrace_recoveries_total',
    help: 'Workers whose tasks were put back because Kubernetes said that they ended, by reason.',
    registers,
    labelNames: ['reason'],
  });
  const reconciles = new Histogram({
    name: 'millrace_reconcile_seconds',
    help: 'How long a reconcile took, by outcome.',
    registers,
    labelNames: ['outcome'],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10],
  });
  const leader = new Gauge({ name: 'millrace_leader', help: '1 while this process leads.', registers });
  new Gauge({
    name: 'millrace_workqueue_depth',
    help: 'Pools that wait to be reconciled.',
    registers,
    collect() {
      this.set(gauges.workqueueDepth());
    },
  });
  new Gauge({
    name: 'millrace_redis_servers',
    help: 'Redis servers that are sampled.',
    registers,
    collect() {
      this.set(gauges.redisServers());
    },
  });
  new Gauge({
    name: 'millrace_watch_restarts',
    help: 'Restarts of a watch since the start, by resource.',
    registers,
    labelNames: ['resource'],
    collect() {
      for (const [resource, { restarts }] of Object.entries(gauges.watches()))
        this.set({ resource }, restarts);
    },
  });
  return {
    registry,
    pool: (namespace, pool, status) => {
      for (const [field, gauge] of pools) gauge.set({ namespace, pool }, status[field] ?? 0);
    },
    forget: (namespace, pool) => {
      for (const [, gauge] of pools) gauge.remove({ namespace, pool });
    },
    scaled: (direction, reason) => actions.inc({ direction, reason }),
    recovered: (reason) => recoveries.inc({ reason }),
    reconciled: (outcome, seconds) => reconciles.observe({ outcome }, seconds),
    leading: (now) => leader.set(now ? 1 : 0),
  };
}
