/** When a status is written: the first one, where many pools are new and are made before it; and again where a write may have been lost. */
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createControllerMetrics } from '../../controller/observe/metrics.ts';
import { createReporter, initialReportState } from '../../controller/report/report.ts';
import { withDefaults } from '../../kube/defaults.ts';
import type { KubeApi } from '../../kube/api.ts';
import type { WorkerPool, WorkerPoolStatus } from '../../kube/workerpool.ts';

const pool: WorkerPool = {
  apiVersion: 'millrace.dev/v1alpha1',
  kind: 'WorkerPool',
  metadata: { namespace: 'shop', name: 'tiles', uid: 'u' },
  spec: withDefaults({ redis: { url: 'redis://redis' } }),
};
const statusWith = (ready: 'True' | 'False'): WorkerPoolStatus => ({
  waiting: 0,
  conditions: [
    {
      type: 'Ready',
      status: ready,
      reason: 'R',
      message: 'm',
      lastTransitionTime: '2026-01-01T00:00:00Z',
      observedGeneration: 1,
    },
  ],
});

/** A reporter with so many pools before it, and a clock that is set by hand. */
function reporterBehind(waiting: number) {
  const written: unknown[] = [];
  const last: string[] = [];
  const before = { waiting, reply: (): Promise<void> => Promise.resolve() };
  const time = { now: 1_000 };
  const api = {
    pools: { patchStatus: (_: unknown, status: unknown) => (written.push(status), before.reply()) },
  };
  const gauges = { workqueueDepth: () => 0, redisServers: () => 0, watches: () => ({}) };
  const reporter = createReporter({
    api: api as unknown as KubeApi,
    events: { record: () => undefined, flush: () => Promise.resolve() },
    metrics: createControllerMetrics(gauges),
    clock: { now: () => time.now, elapsed: () => time.now, sleep: () => Promise.resolve() },
    log: pino({ level: 'silent' }),
    signal: new AbortController().signal,
    backlog: () => before.waiting,
    reconcileLast: (key) => void last.push(key),
  });
  return { reporter, written, last, time, before };
}

test('is written when few are left, after another reconcile that comes last', async () => {
  const { reporter, written, last, before } = reporterBehind(1_000);
  const state = initialReportState();
  const status = statusWith('True');
  expect(await reporter.status(pool, status, state)).toBeUndefined();
  expect([written, last]).toEqual([[], ['shop/tiles']]);
  before.waiting = 100;
  expect(await reporter.status(pool, status, state)).toBeUndefined();
  expect([written, last]).toEqual([[status], ['shop/tiles']]);
});

test('is written after two minutes, however many are left', async () => {
  const { reporter, written, time } = reporterBehind(1_000);
  const state = initialReportState();
  const status = statusWith('True');
  await reporter.status(pool, status, state);
  time.now += 119_999;
  await reporter.status(pool, status, state);
  expect(written).toEqual([]);
  time.now += 1;
  await reporter.status(pool, status, state);
  expect(written).toEqual([status]);
});

test.each([
  ['of one of few', 3, statusWith('True'), pool],
  ['of a pool in trouble', 1_000, statusWith('False'), pool],
  ['that is not the first', 1_000, statusWith('True'), { ...pool, status: { waiting: 7 } }],
] as const)('%s is written immediately', async (_, waiting, status, which) => {
  const { reporter, written } = reporterBehind(waiting);
  expect(await reporter.status(which, status, initialReportState())).toBeUndefined();
  expect(written).toEqual([status]);
});

test('after a write without an answer, which may have arrived, the next status is written even if it is the one of before', async () => {
  const { reporter, written, before } = reporterBehind(0);
  const state = initialReportState();
  const [good, bad] = [statusWith('True'), statusWith('False')];
  await reporter.status(pool, good, state);
  before.reply = () => Promise.reject(new Error('no answer within 10000 ms'));
  await expect(reporter.status(pool, bad, state)).rejects.toThrow('no answer');
  before.reply = () => Promise.resolve();
  // a watch that lags shows what it showed before
  await reporter.status({ ...pool, status: good }, good, state);
  await reporter.status({ ...pool, status: good }, good, state);
  expect(written).toEqual([good, bad, good]);
});
