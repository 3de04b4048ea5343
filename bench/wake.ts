/**
 * `wake`: one task is pushed to a pool that is at zero, on a cluster made with kind, at a random moment: how long until
 * replicas are raised, until a pod works, until the result is in the hash.
 *
 * Held against a bare pod, in turns: the same image, the same worker, the same settings, with its task in the queue already,
 * from the request that creates the pod until the result is in the hash. That is the least that a first task can take when
 * somebody asks for the pod at the very moment of the push, and no Deployment is between.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { table } from '../cli/terminal/table.ts';
import { deploymentOf } from '../controller/act/deployment.ts';
import { withDefaults } from '../kube/defaults.ts';
import type { PodTemplateSpec } from '../kube/wire.ts';
import { eventually } from '../test/support/eventually.ts';
import { squares, squaresTemplate, type Answer } from '../test/support/squares.ts';
import { goalLines, goalRows, median, percentile, rounded, type Goal } from './report/figures.ts';
import { raisedAt, startKind, untilGone, workerStart, type KindBench } from './run/kind.ts';
import type { Bench } from './report/report.ts';
import { wakeSources } from './sources/wake-sources.ts';

const WAKES = 20;
const POOL = 'sleeper';
const BARE = 'bare';
/** Minimum pause after everything is gone; up to the same is added, so that no timer is in step with the pushes. */
const REST_MS = 2_000;
const POLL_MS = 2;
const STUCK_TIMEOUT_MS = 60_000;

/** ms since the push, or since the request that creates the pod. */
interface Wake {
  /** The API server has the higher number of replicas. */
  readonly raised: number;
  readonly created: number;
  /** The worker's process started. */
  readonly running: number;
  /** The worker takes tasks. */
  readonly ready: number;
  readonly result: number;
}

type Bare = Omit<Wake, 'raised'>;

export const wake: Bench = async (options) => {
  if (options.source !== undefined) return wakeSources(options);
  const { rounds = WAKES, progress, signal } = options;
  await using stack = new AsyncDisposableStack();
  const kind = await startKind(stack, progress, signal);
  await kind.release.cluster.applyYaml(JSON.stringify(poolOf(kind, POOL)));
  await untilReady(kind);
  const wakes: Wake[] = [];
  const bares: Bare[] = [];
  // the first of each has cold caches and is not counted
  for (let i = 0; i <= rounds; i++) {
    signal.throwIfAborted();
    const woken = await oneWake(kind, i);
    const bare = await oneBare(kind, i);
    if (i === 0) continue;
    wakes.push(woken);
    bares.push(bare);
    progress(
      `${i} of ${rounds}: raised after ${woken.raised} ms, result after ${woken.result} ms; bare pod: ${bare.result} ms`,
    );
  }
  return report(wakes, bares);
};

/** A realistic pool, except for a window that spares the benchmark a minute each time. */
function poolOf({ release }: KindBench, name: string) {
  const { namespace, redisUrl: url } = release;
  const template = squaresTemplate();
  const spec = { redis: { url }, queue: `${name}:queue`, result: `${name}:result`, template };
  return {
    apiVersion: 'millrace.dev/v1alpha1' as const,
    kind: 'WorkerPool' as const,
    metadata: { name, namespace },
    spec: { ...spec, scaling: { scaleDown: { window: '1s' } } },
  };
}

async function untilReady({ release }: KindBench): Promise<void> {
  const flags = ['--namespace', release.namespace, '--timeout', '60s'];
  await release.cluster.kubectl(['wait', '--for', 'condition=Ready', `workerpool/${POOL}`, ...flags]);
}

async function oneWake(kind: KindBench, round: number): Promise<Wake> {
  await untilGone(kind, POOL);
  await delay(REST_MS * (1 + Math.random()));
  const pushed = Date.now();
  const result = await oneTask(kind, POOL, round);
  const { created, began, ready } = await startOf(kind, result.pod);
  const raised = await raisedAt(kind, POOL, pushed);
  const since = (at: number): number => at - pushed;
  return {
    raised: since(raised),
    created: since(created),
    running: since(began),
    ready: since(ready),
    result: since(result.at),
  };
}

async function oneBare(kind: KindBench, round: number): Promise<Bare> {
  await untilGone(kind, POOL);
  await delay(REST_MS * (1 + Math.random()));
  const { release, transport } = kind;
  const { namespace } = release;
  const what = 'create the bare pod';
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const body = barePod(kind, `${BARE}-${round}`);
  const asked = Date.now();
  const asking = transport.call({ method: 'POST', path, body, what });
  const result = await oneTask(kind, BARE, round);
  await asking;
  const { created, began, ready } = await startOf(kind, result.pod);
  await transport.call({ method: 'DELETE', path: `${path}/${result.pod}`, what: 'delete the bare pod' });
  await untilGone(kind, BARE);
  const since = (at: number): number => at - asked;
  return { created: since(created), running: since(began), ready: since(ready), result: since(result.at) };
}

/** Like a replica of the pool, except for its labels. */
function barePod(kind: KindBench, name: string): PodTemplateSpec & { apiVersion: string; kind: string } {
  const { spec, ...rest } = poolOf(kind, BARE);
  const template = spec.template as PodTemplateSpec;
  const pool = { ...rest, spec: withDefaults({ ...spec, template }) };
  const pod = deploymentOf(pool, 30).spec.template.spec;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: kind.release.namespace },
    ...(pod && { spec: pod }),
  };
}

async function startOf(
  kind: KindBench,
  pod: string,
): Promise<{ created: number; began: number; ready: number }> {
  // the watch may be behind
  const created = await eventually(() => {
    const seen = kind.pods.get(pod);
    if (!seen) throw new Error(`pod ${pod} was not seen`);
    return seen.created;
  });
  return { created, ...(await workerStart(kind, pod)) };
}

/** Pushes a task that takes no time, and waits for its result. Returns when it arrived, and from which pod. */
async function oneTask(
  { release }: KindBench,
  of: string,
  round: number,
): Promise<{ at: number; pod: string }> {
  const { redis } = release;
  const [task] = squares(1, 0, `${of}-${round}-`);
  if (!task) throw new Error('no task was made');
  await redis.lpush(`${of}:queue`, JSON.stringify(task));
  const deadline = Date.now() + STUCK_TIMEOUT_MS;
  for (;;) {
    const text = await redis.hget(`${of}:result`, task.id);
    if (text !== null) {
      const { pod }: Answer = JSON.parse(text);
      return { at: Date.now(), pod };
    }
    if (Date.now() > deadline) throw new Error(`no result of ${task.id} within ${STUCK_TIMEOUT_MS} ms`);
    await delay(POLL_MS);
  }
}

const stages: readonly [title: string, key: keyof Wake][] = [
  ['replicas raised', 'raised'],
  ['pod created', 'created'],
  ['worker process runs', 'running'],
  ['worker takes tasks', 'ready'],
  ['result in the hash', 'result'],
];

function report(wakes: readonly Wake[], bares: readonly Bare[]): Awaited<ReturnType<Bench>> {
  const ours = (key: keyof Wake): number[] => wakes.map((one) => one[key]);
  const theirs = (key: keyof Wake): number[] => (key === 'raised' ? [] : bares.map((one) => one[key]));
  const shown = (values: readonly number[]): (number | string)[] =>
    [median(values), percentile(values, 0.99)].map((value) => (Number.isNaN(value) ? '' : Math.round(value)));
  const rows = stages.map(([title, key]) => [[title], shown(ours(key)), shown(theirs(key))].flat());
  const head = ['MS UNTIL', 'PUSH: P50', 'P99', 'BARE POD: P50', 'P99'];
  const ratio = median(wakes.map(({ result }, i) => result / (bares[i]?.result ?? NaN)));
  const goals: Goal[] = [
    {
      name: 'decision, p99',
      measured: percentile(ours('raised'), 0.99),
      goal: 40,
      is: 'at most',
      unit: ' ms',
    },
    {
      name: "worker's start, p50",
      measured: median(wakes.map(({ running, ready }) => ready - running)),
      goal: 150,
      is: 'at most',
      unit: ' ms',
    },
    { name: "result, to a bare pod's", measured: ratio, goal: 1.05, is: 'at most', unit: '' },
  ];
  const peers =
    'Not measured here: KEDA 2.21 with its defaults, on such a cluster, took 8.5 to 26.8 s to scale from zero.\n';
  return {
    text: `${table(head, rows)}\n${goalLines(goals)}\n${peers}`,
    data: { wakes, bares, ratio: rounded(ratio), goals: goalRows(goals) },
  };
}
