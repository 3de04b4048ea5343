/**
 * Metrics, alerts and the dashboard of the chart, against the programs that they are about: a real controller and a real
 * worker with real work, scraped by a real Prometheus, which loads the alerts and answers every query of the dashboard.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { POOLS } from '../../kube/resources.ts';
import { startController, type ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { promtool, startPrometheus, type Prometheus } from '../support/prometheus.ts';
import { freePort } from '../support/ports.ts';
import { spawnProgram, TASKS, type WorkerProcess } from '../support/workers.ts';
import { playDeployments, poolManifest, startWorld, type World } from '../support/world.ts';

const CHART = join(import.meta.dirname, '../../charts/millrace');
const RULES = join(CHART, 'alerts/rules.yaml');

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
  }[];
}

let world: World;
let controller: ControllerProcess;
let worker: WorkerProcess;
let workerPort: number;
let prometheus: Prometheus;
let pushing: Promise<void>;
const over = new AbortController();

beforeAll(async () => {
  world = await startWorld();
  const namespace = await world.namespace();
  await playDeployments(world.transport, over.signal);
  controller = await startController({ kubeconfig: world.server.kubeconfig });
  await controller.leading();
  const scaling = { targetWait: '100ms', tasksPerReplica: 1 };
  await world.objects.create(
    POOLS,
    namespace,
    poolManifest('tiles', world.redis, { scaling, maxReplicas: 500 }),
  );
  await world.objects.create(POOLS, namespace, poolManifest('idle', world.redis));
  workerPort = await freePort();
  const keys = [
    '--queue',
    'tiles',
    '--result',
    'tiles:result',
    '--attempts',
    '2',
    '--backoff-initial',
    '10ms',
  ];
  const where = ['--redis', world.redis.url, '--http-port', String(workerPort), '--concurrency', '2'];
  worker = spawnProgram([...where, ...keys, '--module', TASKS]);
  await worker.reports('registered');
  const labels = { namespace, pool: 'tiles' };
  const targets = [
    { job: 'millrace', port: controller.port },
    { job: 'workers', port: workerPort, labels },
  ];
  prometheus = await startPrometheus(targets, [RULES]);
  pushing = work();
});

afterAll(async () => {
  over.abort();
  await pushing;
  await prometheus?.[Symbol.asyncDispose]();
  await worker?.[Symbol.asyncDispose]();
  await controller?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

/** Bursts that grow, so that replicas are asked for again and again, with a pause in which the queue is quiet. */
async function work(): Promise<void> {
  const redis = world.redis.client();
  for (let burst = 1; !over.signal.aborted; burst++) {
    const tasks = Array.from({ length: 2 * Math.min(burst, 60) }, (_, i) => ({
      id: `${burst}-${i}`,
      sleepMs: 20,
    }));
    const odd = [
      { id: `${burst}-again`, failures: 1 },
      { id: `${burst}-never`, final: true },
    ];
    await redis.lpush('tiles', ...[...tasks, ...odd].map((task) => JSON.stringify(task)));
    await delay(700, undefined, { signal: over.signal }).catch(() => undefined);
  }
}

const page = async (port: number): Promise<string> =>
  (await fetch(`http://127.0.0.1:${port}/metrics`)).text();

test('promtool finds nothing to complain of, in either program', async () => {
  await eventually(async () =>
    expect(await page(controller.port)).toMatch(/millrace_task_wait_seconds_count\{.*\} [1-9]/),
  );
  for (const port of [controller.port, workerPort]) {
    const text = await page(port);
    expect(text).toContain('millrace_build_info');
    expect(await promtool(['check', 'metrics'], text)).toEqual({ code: 0, said: '' });
  }
  const bad = await promtool(['check', 'metrics'], '# TYPE wait_ms_total gauge\nwait_ms_total 1\n');
  expect(bad.code).not.toBe(0);
});

test('an idle pool has gauges and nothing else', async () => {
  const lines = (await page(controller.port)).split('\n').filter((line) => line.includes('pool="idle"'));
  expect(lines.map((line) => line.split('{')[0])).toContain('millrace_queue_length');
  expect(lines.length).toBeLessThanOrEqual(10);
  expect(lines.join('\n')).not.toMatch(/_bucket|_total/);
});

/** Queries that need not have data when all is well. */
const quiet = new Set(['Not ready', 'Lost workers']);

test('every query of the dashboard is answered, and those of what happens with numbers', async () => {
  const dashboard: Dashboard = JSON.parse(await readFile(join(CHART, 'dashboards/millrace.json'), 'utf8'));
  const queries = dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat }) => ({
      what: `${title}: ${legendFormat}`,
      title,
      expr: expr
        .replaceAll('$namespace', '.*')
        .replaceAll('$pool', '.*')
        .replaceAll('$__rate_interval', '10s'),
    })),
  );
  expect(queries.length).toBeGreaterThan(40);
  const open = new Map(queries.map((query) => [query.what, query]));
  expect(open.size).toBe(queries.length);
  await eventually(
    async () => {
      for (const [what, { title, expr }] of open) {
        const found = await prometheus.query(expr).catch((error: Error) => {
          throw new Error(`${what}: ${error.message}`);
        });
        if (quiet.has(title) || found.some(({ value }) => Number.isFinite(value))) open.delete(what);
      }
      expect([...open.keys()]).toEqual([]);
    },
    { withinMs: 45_000 },
  );
});

test('the numbers match what happened', async () => {
  await eventually(async () => {
    const ready = await prometheus.query('millrace_pool_ready_replicas{pool="tiles"} > 1');
    expect(ready).toHaveLength(1);
    const [late] = await prometheus.query(
      'millrace_pool_tasks_late_total{pool="tiles"} / millrace_pool_tasks_taken_total{pool="tiles"}',
    );
    expect(late?.value).toBeLessThanOrEqual(1);
    // both count what ended: the controller by the queue's counters, the worker by itself
    const [pool] = await prometheus.query('millrace_pool_tasks_failed_total{pool="tiles"}');
    expect(pool?.value).toBeGreaterThan(0);
    const [ended] = await prometheus.query('millrace_tasks_finished_total{outcome="dead"}');
    expect(ended?.value).toBeGreaterThan(0);
  });
});

test('every alert is loaded and evaluated; the one that should be pending is, and no other', async () => {
  await eventually(async () => {
    const rules = await prometheus.rules();
    expect(rules.length).toBeGreaterThan(10);
    expect(rules.filter(({ lastError }) => lastError)).toEqual([]);
    const awake = rules.filter(({ state }) => state !== 'inactive').map(({ name }) => name);
    expect(awake).toContain('MillraceDeadLettersGrow');
    // 100 ms is little for a machine that does all of this at once
    expect(awake.filter((name) => !/DeadLettersGrow|TasksLate|TargetMissed/.test(name))).toEqual([]);
  });
});
