/**
 * `jobs`: a pod for each task, for tasks that are longer than any window. The same tasks come at the same moments, on one cluster made with
 * kind, to a pool of Millrace with `runAs: Job` and to three ScaledJobs that KEDA's own code scales (keda/scaled-job.ts). All is at its default
 * but the strategy of two of these: `accurate` is what KEDA's documentation recommends where a task is removed when it is taken, as here,
 * and `eager` where Jobs are long. Nothing is made faster.
 *
 * First nothing happens to the pods. Then all pods of a few more tasks are evicted while they work, as by a drained node.
 *
 * Each run of a task notes when and where it begins and ends. Pods are those that the API server has had.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { table } from '../cli/terminal/table.ts';
import { createRandom } from '../test/chaos/random.ts';
import { eventually } from '../test/support/eventually.ts';
import { prepareKedaJobs } from '../test/support/keda.ts';
import { PYTHON_IMAGE } from '../test/support/kind-images.ts';
import { REDIS_NODE_PORT, SYSTEM } from '../test/support/kind-install.ts';
import { goalLines, goalRows, median, percentile, rounded, type Goal } from './report/figures.ts';
import { podSeconds, startKind, type KindBench, type PodLife } from './run/kind.ts';
import type { Bench, BenchOptions } from './report/report.ts';
import { onOffLoad, outcomeOf, runsOf, type Arrival, type Run } from './scale-in/load.ts';
import { defineScaledJobs, startScaledJob } from './keda/scaled-job.ts';

const SEED = 1;
/** More than run at once: nothing waits for room. */
const MAX_REPLICAS = 16;
const LOAD = { tasks: 24, times: 1, onMs: 150_000, offMs: 0, ms: [60_000, 90_000] } as const;
/** All at once, on an idle side. */
const EVICTED: readonly Arrival[] = ['e0', 'e1', 'e2', 'e3'].map((id) => ({ id, at: 0, ms: 40_000 }));
/** After the last task has come; what is not done by then is lost. */
const LAST_MS = 900_000;
/** Within this, a pod that was evicted has its successor. */
const SUCCESSOR_MS = 40_000;
const POLL_MS = 250;

/** Who creates the pods; its name is what those begin with, and that of its list. */
interface Side {
  readonly name: string;
  readonly title: string;
  /** KEDA's. */
  readonly strategy?: string;
}

const millrace: Side = { name: 'millrace', title: 'Millrace' };
const rules: readonly Side[] = [
  { name: 'keda-default', title: "KEDA's ScaledJob" },
  { name: 'keda-accurate', title: '  accurate', strategy: 'accurate' },
  { name: 'keda-eager', title: '  eager', strategy: 'eager' },
];
const sides = [millrace, ...rules];

interface Result {
  readonly side: string;
  readonly pods: number;
  readonly podsPerTask: number;
  /** Pods that had nothing to do. */
  readonly idle: number;
  /** Tasks that no run has finished, and those that were begun more than once. */
  readonly lost: number;
  readonly repeated: number;
  /** From a task's arrival until it was first begun, s. */
  readonly waitMedian: number;
  readonly waitP95: number;
  /** When the last run had ended, s since the first task could come. */
  readonly doneAfter: number;
  readonly podSeconds: number;
}

/** Of the tasks whose pods were evicted. */
interface Evicted {
  readonly evicted: number;
  readonly lost: number;
  readonly podsPerTask: number;
  /** From the eviction until the last of them was done, s; `undefined` if some were not. */
  readonly doneAfter: number | undefined;
}

export const jobs: Bench = async (options) => {
  const { progress, signal } = options;
  await using stack = new AsyncDisposableStack();
  progress("compiling KEDA's code for ScaledJobs");
  const program = await prepareKedaJobs();
  const kind = await startKind(stack, progress, signal);
  const { cluster, namespace, redisUrl } = kind.release;
  await cluster.applyYaml(JSON.stringify(poolOf(namespace, redisUrl, await podOf(millrace))));
  stack.use(await defineScaledJobs(cluster));
  for (const side of rules)
    stack.use(
      await startScaledJob(program, {
        cluster,
        namespace,
        name: side.name,
        strategy: side.strategy,
        maxReplicas: MAX_REPLICAS,
        redis: `${cluster.place.node}:${REDIS_NODE_PORT}`,
        list: side.name,
        pod: await podOf(side),
      }),
    );
  const results = await play(kind, options);
  const evicted = await Promise.all(sides.map((side) => evict(kind, side, options)));
  return report(results, evicted);
};

function poolOf(namespace: string, url: string, pod: object): object {
  const { name } = millrace;
  const queues = { queue: name, result: `${name}:result` };
  return {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { namespace, name },
    spec: {
      redis: { url },
      ...queues,
      runAs: 'Job',
      maxReplicas: MAX_REPLICAS,
      template: { spec: pod },
    },
  };
}

/** The same program on all sides. */
async function podOf({ name }: Side): Promise<object> {
  const program = await readFile(join(import.meta.dirname, 'workers/job_nap.py'), 'utf8');
  const env = { REDIS_ADDRESS: `millrace-redis.${SYSTEM}:6379`, RUNS: runKey(name, ''), LIST: name };
  return {
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'main',
        image: PYTHON_IMAGE,
        imagePullPolicy: 'IfNotPresent',
        command: ['python3', '-c', program],
        env: Object.entries(env).map(([variable, value]) => ({ name: variable, value })),
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        // without any, a pod gets next to nothing on a busy machine
        resources: { requests: { cpu: '10m' } },
      },
    ],
  };
}

const runKey = (side: string, id: string): string => `run:${side}:${id}`;

async function play(kind: KindBench, { progress, signal }: BenchOptions): Promise<Result[]> {
  const load = onOffLoad(LOAD, createRandom(SEED, 'load'));
  progress(`${load.length} tasks in ${LOAD.onMs / 1_000} s`);
  const started = Date.now();
  for (const one of load) {
    await delay(Math.max(0, started + one.at - Date.now()), undefined, { signal });
    await Promise.all(sides.map((side) => push(kind, side, [one])));
  }
  progress('all tasks sent');
  await Promise.all(sides.map((side) => untilOver(kind, side, load, signal)));
  return Promise.all(
    sides.map(async (side): Promise<Result> => {
      const byTask = await runsBy(kind, side, load);
      const pods = podsBy(kind, side);
      const { lost, repeated } = outcomeOf(byTask, pods);
      const working = new Set(byTask.flat().map(({ pod }) => pod));
      const waits = byTask.flatMap(([first], i) =>
        first ? [(first.began - started - (load[i]?.at ?? NaN)) / 1_000] : [],
      );
      return {
        side: side.title,
        pods: pods.length,
        podsPerTask: rounded(pods.length / load.length),
        idle: pods.filter(({ name }) => !working.has(name)).length,
        lost,
        repeated,
        waitMedian: rounded(median(waits), 3),
        waitP95: rounded(percentile(waits, 0.95), 3),
        doneAfter: rounded((lastEnd(byTask) - started) / 1_000),
        podSeconds: Math.round(podSeconds(pods, Date.now())),
      };
    }),
  );
}

/** Evicts the pods of its tasks as soon as all of them run. */
async function evict(kind: KindBench, side: Side, { signal, progress }: BenchOptions): Promise<Evicted> {
  const before = podsBy(kind, side).length;
  await push(kind, side, EVICTED);
  const begun = await eventually(
    async () => {
      const runs = (await runsBy(kind, side, EVICTED)).map(([first]) => first);
      if (runs.includes(undefined)) throw new Error(`not all tasks of ${side.name} have begun`);
      return runs;
    },
    { withinMs: LAST_MS, everyMs: POLL_MS },
  );
  const evictedAt = Date.now();
  const { namespace, cluster } = kind.release;
  const names = begun.flatMap((run) => run?.pod ?? []);
  for (const name of names) {
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } };
    const path = `/api/v1/namespaces/${namespace}/pods/${name}/eviction`;
    await cluster.kubectl(['create', '--raw', path, '-f', '-'], { input: JSON.stringify(eviction) });
  }
  progress(`${side.name}: ${names.length} pods evicted`);
  await untilOver(kind, side, EVICTED, signal);
  const byTask = await runsBy(kind, side, EVICTED);
  const pods = podsBy(kind, side);
  const { lost } = outcomeOf(byTask, pods);
  return {
    evicted: names.length,
    lost,
    podsPerTask: rounded((pods.length - before) / EVICTED.length),
    doneAfter: lost > 0 ? undefined : rounded((lastEnd(byTask) - evictedAt) / 1_000),
  };
}

async function push({ release }: KindBench, { name }: Side, load: readonly Arrival[]): Promise<void> {
  await release.redis.lpush(name, ...load.map(({ id, ms }) => `${id} ${ms}`));
}

/** Until all tasks have ended, or never will: none waits, and for a while no pod is there that could run one. */
async function untilOver(
  kind: KindBench,
  side: Side,
  load: readonly Arrival[],
  signal: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + LAST_MS;
  let idleSince = Infinity;
  while (performance.now() < Math.min(deadline, idleSince + SUCCESSOR_MS)) {
    const byTask = await runsBy(kind, side, load);
    const open = byTask.filter((runs) => runs.every(({ ended }) => ended === undefined)).length;
    const busy = podsBy(kind, side).some(({ ended, gone }) => (ended ?? gone) === undefined);
    const isIdle = !busy && (await kind.release.redis.llen(side.name)) === 0;
    if (isIdle && open === 0) return;
    idleSince = isIdle ? Math.min(idleSince, performance.now()) : Infinity;
    await delay(POLL_MS, undefined, { signal });
  }
}

async function runsBy({ release }: KindBench, { name }: Side, load: readonly Arrival[]): Promise<Run[][]> {
  const lines = load.map(({ id }) => release.redis.lrange(runKey(name, id), 0, -1));
  return (await Promise.all(lines)).map(runsOf);
}

function podsBy({ pods }: KindBench, { name }: Side): PodLife[] {
  return [...pods.values()].filter((pod) => pod.name.startsWith(`${name}-`));
}

function lastEnd(byTask: readonly (readonly Run[])[]): number {
  return Math.max(...byTask.flat().flatMap(({ ended }) => (ended === undefined ? [] : [ended])));
}

function report(results: readonly Result[], evicted: readonly Evicted[]): Awaited<ReturnType<Bench>> {
  const head = ['PODS', 'A TASK', 'IDLE', 'LOST', 'RUN TWICE', 'WAIT, S', 'P95', 'DONE', 'POD-S'];
  const rows = results.map((one) => [
    one.side,
    one.pods,
    one.podsPerTask.toFixed(2),
    one.idle,
    one.lost,
    one.repeated,
    one.waitMedian,
    one.waitP95,
    one.doneAfter,
    one.podSeconds,
  ]);
  const evictedRows = evicted.map((one, i) => [
    sides[i]?.title ?? '',
    one.evicted,
    one.lost,
    one.podsPerTask.toFixed(2),
    one.doneAfter ?? 'never',
  ]);
  const [ours] = results;
  const [oursEvicted] = evicted;
  const goals: Goal[] =
    ours && oursEvicted
      ? [
          goalOf('pods a task', ours.podsPerTask, 1),
          goalOf('tasks lost', ours.lost + oursEvicted.lost, 0),
          goalOf('pods a task that was evicted', oursEvicted.podsPerTask, 2),
        ]
      : [];
  const text = [
    table([`${LOAD.tasks} TASKS`, ...head], rows),
    table(['EVICTED', 'PODS', 'LOST', 'PODS A TASK', 'DONE'], evictedRows),
    goalLines(goals),
  ].join('\n');
  return { text, data: { load: LOAD, maxReplicas: MAX_REPLICAS, results, evicted, goals: goalRows(goals) } };
}

function goalOf(name: string, measured: number, goal: number): Goal {
  return { name: `Millrace: ${name}`, measured, goal, is: 'at most', unit: '' };
}
