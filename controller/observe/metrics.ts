/**
 * The controller's Prometheus metrics; docs/metrics.md lists them. Durations are in seconds. The many series of pools are in
 * pool-series.ts; all others use prom-client.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { MetricsSource } from '../../runtime/metrics.ts';
import { version } from '../../runtime/version.ts';
import { createPoolSeries, type PoolSeries } from './pool-series.ts';

export interface ControllerMetrics extends MetricsSource {
  readonly pools: Pick<PoolSeries, 'status' | 'observed' | 'woken' | 'forget'>;
  scaled(direction: 'up' | 'down', reason: string): void;
  /** The epoch of a dead worker was ended before its lease expired. */
  recovered(reason: string): void;
  /** The memory of a pool was discarded. */
  forgotten(): void;
  reconciled(key: string, outcome: 'ok' | 'error', seconds: number): void;
  /** A request was refused: see dashboard/strikes.ts. */
  refused(kind: string): void;
  /** Without leadership, there are no series of pools. */
  leading(now: boolean): void;
}

export interface ControllerGauges {
  /** Called at each scrape. */
  readonly workqueueDepth: () => number;
  readonly redisServers: () => number;
  readonly watches: () => Readonly<Record<string, { restarts: number; lastEvent: number | undefined }>>;
}

/** All metrics but those of pools and of the process. */
export const controllerMetrics = {
  actions: {
    name: 'millrace_scale_actions_total',
    help: 'Times that replicas were changed.',
    labelNames: ['direction', 'reason'],
  },
  recoveries: {
    name: 'millrace_recoveries_total',
    help: 'Workers whose tasks were put back because Kubernetes reported their end, by reason.',
    labelNames: ['reason'],
  },
  forgotten: {
    name: 'millrace_memories_forgotten_total',
    help: 'Times that the learned values of a pool led to no valid decision and were discarded.',
  },
  reconciles: {
    name: 'millrace_reconcile_seconds',
    help: 'How long reconciles took, in seconds, by outcome.',
    labelNames: ['outcome'],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10],
  },
  refusals: {
    name: 'millrace_refused_total',
    help: 'Refused requests for the dashboard or metrics: token (unknown), rights (insufficient), limit (too many wrong ones).',
    labelNames: ['kind'],
  },
  leader: { name: 'millrace_leader', help: '1 while this process leads, else 0.' },
  depth: { name: 'millrace_workqueue_depth', help: 'Pools waiting to be reconciled.' },
  servers: { name: 'millrace_redis_servers', help: 'Redis servers that are sampled.' },
  restarts: {
    name: 'millrace_watch_restarts',
    help: 'Restarts of a watch since the controller began to lead, by resource.',
    labelNames: ['resource'],
  },
  build: {
    name: 'millrace_build_info',
    help: 'Always 1; the version is in the label.',
    labelNames: ['version'],
  },
} as const;

/** Node.js metrics of prom-client with misleading names: gauges with the suffix of counters. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

export function createControllerMetrics(gauges: ControllerGauges): ControllerMetrics {
  const { actions, recoveries, forgotten, refusals, reconciles, leader, depth, servers, restarts, build } =
    controllerMetrics;
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  const scaled = new Counter({ ...actions, registers });
  const recovered = new Counter({ ...recoveries, registers });
  const forgot = new Counter({ ...forgotten, registers });
  const refused = new Counter({ ...refusals, registers });
  const reconciled = new Histogram({ ...reconciles, buckets: [...reconciles.buckets], registers });
  const leading = new Gauge({ ...leader, registers });
  new Gauge({ ...build, registers }).set({ version }, 1);
  new Gauge({
    ...depth,
    registers,
    collect() {
      this.set(gauges.workqueueDepth());
    },
  });
  new Gauge({
    ...servers,
    registers,
    collect() {
      this.set(gauges.redisServers());
    },
  });
  new Gauge({
    ...restarts,
    registers,
    collect() {
      for (const [resource, watch] of Object.entries(gauges.watches()))
        this.set({ resource }, watch.restarts);
    },
  });
  const pools = createPoolSeries();
  return {
    pools,
    scaled: (direction, reason) => scaled.inc({ direction, reason }),
    recovered: (reason) => recovered.inc({ reason }),
    forgotten: () => forgot.inc(),
    reconciled: (key, outcome, seconds) => {
      reconciled.observe({ outcome }, seconds);
      pools.reconciled(key, seconds);
    },
    refused: (kind) => refused.inc({ kind }),
    leading: (now) => {
      leading.set(now ? 1 : 0);
      if (!now) pools.clear();
    },
    contentType: registry.contentType,
    text: async function* () {
      yield await registry.metrics();
      yield* pools.text();
    },
  };
}
