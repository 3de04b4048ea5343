/** The text of pools' series against that of prom-client for the same numbers, and how little an idle pool costs. */
import { text } from 'node:stream/consumers';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import type { Observation } from '../../controller/observe/observation.ts';
import { poolCounters, poolGauges, poolHistograms } from '../../controller/observe/pool-metrics.ts';
import { createPoolSeries, type PoolSeries } from '../../controller/observe/pool-series.ts';
import type { Condition } from '../../kube/conditions.ts';
import type { WorkerPool, WorkerPoolStatus } from '../../kube/workerpool.ts';
import { observation as observationWith } from '../support/observations.ts';

/** What only pools that park replicas have. */
const parking = {
  parked: { replicas: 2, cpu: '10m' },
  template: { spec: { containers: [{ name: 'worker', resources: { requests: { cpu: '500m' } } }] } },
};

function pool(name: string, targetWait?: string): WorkerPool {
  const scaling = { ...(targetWait && { targetWait }) };
  return {
    metadata: { namespace: 'mill', name },
    spec: { maxReplicas: 7, scaling, ...(targetWait && parking) },
  } as unknown as WorkerPool;
}

const nothing = observationWith({ at: 1_700_000_000_500 });

const condition = (type: string, status: Condition['status'], reason = 'Because'): Condition => ({
  type,
  status,
  reason,
  message: '',
  observedGeneration: 1,
  lastTransitionTime: '',
});

const status = (more: Partial<WorkerPoolStatus> = {}): WorkerPoolStatus => ({
  waiting: 3,
  inFlight: 2,
  desiredReplicas: 4,
  conditions: [condition('RedisReachable', 'True'), condition('TargetMissed', 'False')],
  ...more,
});

const pageOf = (series: PoolSeries): Promise<string> => text(series.text());

/** The series of one metric on a page. */
const seriesOf = (page: string, name: string): string[] =>
  page.split('\n').filter((line) => line.startsWith(name) && !line.startsWith('#'));

test('the text of prom-client', async () => {
  const registry = new Registry();
  const registers = [registry];
  const labelNames = ['namespace', 'pool'] as const;
  const labels = { namespace: 'mill', pool: 'a' };
  const busy = pool('a', '10s');
  const seen = status();
  const observations: Observation[] = [
    { ...nothing, arrived: 5, taken: 3, waits: [{ waitMs: 10_000, tasks: 2 }, { waitMs: 10_001, tasks: 1 }] }, // prettier-ignore
    { ...nothing, completed: 2, failed: 1, retried: 4, serviceMs: 1_500, startsMs: [800, 2_000, 999_999] },
  ];
  const series = createPoolSeries();
  series.status(busy, seen);
  for (const observation of observations) series.observed(busy, observation);
  series.woken(busy, 0.005);
  series.reconciled('mill/a', 0.02);
  series.reconciled('mill/unknown', 9);

  for (const { name, help, read } of poolGauges)
    new Gauge({ name, help, labelNames, registers }).set(labels, read(busy, seen) ?? Number.NaN);
  for (const { name, help, grown } of poolCounters) {
    const counter = new Counter({ name, help, labelNames, registers });
    for (const observation of observations) counter.inc(labels, grown(observation, 10_000));
  }
  const values = { wait: [10, 10, 10.001], start: [0.8, 2, 999.999], wake: [0.005], reconcile: [0.02] };
  for (const [of, { name, help, bounds }] of Object.entries(poolHistograms)) {
    const histogram = new Histogram({ name, help, labelNames, registers, buckets: [...bounds] });
    for (const value of values[of as keyof typeof values]) histogram.observe(labels, value);
  }
  const metrics = (page: string): string[][] =>
    page
      .split(/^(?=# HELP)/m)
      .map((metric) => metric.trim().split('\n'))
      .filter(([head]) => !/millrace_pool_(sampled|not_ready)/.test(head ?? ''));
  expect(metrics(await pageOf(series))).toEqual(metrics(await registry.metrics()));
  expect(seriesOf(await pageOf(series), 'millrace_pool_tasks_late_total')).toEqual([
    'millrace_pool_tasks_late_total{namespace="mill",pool="a"} 1',
  ]);
});

test('a pool in which nothing ever happened has gauges only, and what does not apply to it is left out', async () => {
  const series = createPoolSeries();
  const idle = pool('idle');
  series.status(idle, { conditions: [condition('RedisReachable', 'Unknown')] });
  series.observed(idle, { ...nothing, known: false });
  series.woken(idle, 1);
  series.reconciled('mill/idle', 1);
  const page = await pageOf(series);
  expect(seriesOf(page, 'millrace_')).toHaveLength(8);
  expect(seriesOf(page, 'millrace_queue_length')).toEqual([
    'millrace_queue_length{namespace="mill",pool="idle"} 0',
  ]);
  series.observed(idle, nothing);
  expect(seriesOf(await pageOf(series), 'millrace_pool_sampled')).toEqual([
    'millrace_pool_sampled_timestamp_seconds{namespace="mill",pool="idle"} 1700000000.5',
  ]);
  series.observed(idle, { ...nothing, waiting: 1 });
  expect(seriesOf(await pageOf(series), 'millrace_task_wait_seconds_count')).toHaveLength(1);
});

test('why a pool is not ready is there only while it is not', async () => {
  const series = createPoolSeries();
  series.status(pool('a'), { conditions: [condition('Ready', 'False', 'WorkersFailing')] });
  expect(seriesOf(await pageOf(series), 'millrace_pool_not_ready')).toEqual([
    'millrace_pool_not_ready{namespace="mill",pool="a",reason="WorkersFailing"} 1',
  ]);
  series.status(pool('a'), { conditions: [condition('Ready', 'True')] });
  expect(seriesOf(await pageOf(series), 'millrace_pool_not_ready')).toEqual([]);
});

test('a forgotten pool has no series', async () => {
  const series = createPoolSeries();
  for (const name of ['a', 'b']) series.status(pool(name), status());
  series.forget('mill/a');
  expect(await pageOf(series)).not.toContain('pool="a"');
  series.clear();
  expect(seriesOf(await pageOf(series), 'millrace_')).toEqual([]);
});

test('names are what Prometheus expects: seconds, and totals that are counters', () => {
  for (const { name } of poolGauges) expect(name).not.toMatch(/_total$|_ms$/);
  for (const { name } of poolCounters) expect(name).toMatch(/_total$/);
  for (const { name, bounds } of Object.values(poolHistograms)) {
    expect(name).toMatch(/_seconds$/);
    expect([...bounds]).toEqual([...bounds].toSorted((a, b) => a - b));
  }
});
