/**
 * `scale-in`: what becomes of running tasks when pods are taken away. Two Deployments of the same workers of a queue library, on one
 * cluster made with kind, get the same tasks at the same moments: one is scaled by a pool of Millrace with a `source`, the other by
 * KEDA's rule for the library's list (keda/list-rule.ts), both with their defaults.
 *
 * An hour is run in six minutes: tasks come for ten minutes and stay away for ten, three times, and take 10 s to 200 s. All
 * times that are settings are a tenth as well, on both sides (periods, windows, grace periods); what is built in is not, such as heartbeats.
 *
 * Each run of a task notes when and where it begins and ends, in a key of its own; when a pod was told to stop is known from the
 * API server.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { table } from '../cli/terminal/table.ts';
import { createRandom } from '../test/chaos/random.ts';
import { SYSTEM } from '../test/support/kind-install.ts';
import { goalLines, goalRows, median, percentile, rounded, type Goal } from './report/figures.ts';
import { podSeconds, startKind, untilGone, type KindBench } from './run/kind.ts';
import { startListRule } from './keda/list-rule.ts';
import type { Bench, BenchOptions } from './report/report.ts';
import { onOffLoad, outcomeOf, runsOf, type Arrival, type Outcome } from './scale-in/load.ts';
import {
  buildNapImage,
  napDeployment,
  napLibraries,
  startPusher,
  type NapLibrary,
  type NapPusher,
} from './scale-in/workers.ts';

const FASTER = 10;
const SEED = 1;
const MAX_REPLICAS = 12;
const LOAD = { tasks: 200, times: 3, onMs: 60_000, offMs: 60_000, ms: [1_000, 20_000] } as const;
/** After the last task has come; what is not done by then is lost. */
const LAST_MS = 150_000;
const POLL_MS = 250;

/** Who scales one of the two Deployments. */
interface Side {
  readonly name: string;
  readonly deployment: string;
  /** Of the one Redis. */
  readonly database: number;
}

const sides = {
  millrace: { name: 'Millrace', deployment: 'ours', database: 1 },
  keda: { name: "KEDA's rule", deployment: 'theirs', database: 2 },
} satisfies Record<string, Side>;

interface Result extends Outcome {
  readonly side: string;
  readonly pods: number;
  readonly podSeconds: number;
  /** From a task's arrival until it was first begun, s. */
  readonly waitMedian: number;
  readonly waitP95: number;
  /** When the last task had ended, s since the start of the load; `undefined` if some did not. */
  readonly doneAfter: number | undefined;
}

export const scaleIn: Bench = async (options) => {
  const { progress, signal, source = 'celery' } = options;
  const library = napLibraries[source];
  if (!library)
    throw new RangeError(`--source is ${source}: choose one of ${Object.keys(napLibraries).join(', ')}`);
  await using stack = new AsyncDisposableStack();
  // a cluster of its own: its control plane gets other settings
  const kind = await startKind(stack, progress, signal, { name: 'millrace-scale-in' });
  progress(`building the workers of ${library.name}`);
  await buildNapImage(library);
  await kind.release.cluster.loadImages([library.image]);
  await startBoth(kind, library, stack);
  const results = await play(kind, library, options);
  return report(library, results);
};

function urlOf({ release }: KindBench, { database }: Side): string {
  return `redis://${release.redis.options.host}:${release.redis.options.port}/${database}`;
}

/** `stack` ends KEDA's rule. */
async function startBoth(kind: KindBench, library: NapLibrary, stack: AsyncDisposableStack): Promise<void> {
  const { namespace, cluster, redis } = kind.release;
  const { millrace, keda } = sides;
  const url = ({ database }: Side): string => `redis://millrace-redis.${SYSTEM}:6379/${database}`;
  const pool = {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { name: millrace.deployment },
    spec: {
      source: library.source,
      redis: { url: url(millrace) },
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: millrace.deployment },
      maxReplicas: MAX_REPLICAS,
      // the window by default is a minute
      scaling: { tasksPerReplica: 1, scaleDown: { window: `${60 / FASTER}s` } },
    },
  };
  const deployments = [millrace, keda].map((side) => napDeployment(library, side.deployment, url(side)));
  for (const object of [...deployments, pool])
    await cluster.kubectl(['apply', '--namespace', namespace, '--filename', '-'], {
      input: JSON.stringify(object),
    });
  const own = redis.duplicate({ db: keda.database });
  stack.defer(() => own.disconnect());
  stack.use(
    await startListRule({
      cluster,
      namespace,
      deployment: keda.deployment,
      maxReplicas: MAX_REPLICAS,
      redis: own,
      list: library.list,
      tasksPerReplica: 1,
      faster: FASTER,
    }),
  );
}

/** One task to each first, so that everything has run once and both are at zero again. */
async function play(kind: KindBench, library: NapLibrary, options: BenchOptions): Promise<Result[]> {
  const { progress, signal } = options;
  await using stack = new AsyncDisposableStack();
  const both = [sides.millrace, sides.keda];
  const pushers = await Promise.all(both.map((side) => startPusher(library, urlOf(kind, side))));
  for (const pusher of pushers) stack.use(pusher);
  const first = [{ id: 'first', at: 0, ms: 1_000 }];
  await send(first, pushers, options);
  await untilDone(kind, first, options);
  await asleep(kind);
  const before = new Set(kind.pods.keys());
  progress(`${LOAD.tasks} tasks in ${Math.round((LOAD.times * (LOAD.onMs + LOAD.offMs)) / 60_000)} minutes`);
  const load = onOffLoad(LOAD, createRandom(SEED, 'load'));
  const started = Date.now();
  await send(load, pushers, options);
  await untilDone(kind, load, options);
  signal.throwIfAborted();
  await asleep(kind);
  return Promise.all(both.map((side) => resultOf(kind, side, { load, started, before })));
}

async function send(
  load: readonly Arrival[],
  pushers: readonly NapPusher[],
  { progress, signal }: BenchOptions,
): Promise<void> {
  const started = performance.now();
  for (const [i, { id, at, ms }] of load.entries()) {
    await delay(Math.max(0, started + at - performance.now()), undefined, { signal });
    for (const pusher of pushers) pusher.push(id, ms);
    if (i % 25 === 24) progress(`${i + 1} tasks sent`);
  }
}

/** Until all tasks have ended on both sides, or never will. */
async function untilDone(
  kind: KindBench,
  load: readonly Arrival[],
  { progress, signal }: BenchOptions,
): Promise<void> {
  const deadline = performance.now() + LAST_MS;
  for (;;) {
    const all = await Promise.all(Object.values(sides).map((side) => runsBy(kind, side, load)));
    const open = all.map(
      (runs) => runs.filter((own) => own.every(({ ended }) => ended === undefined)).length,
    );
    if (open.every((tasks) => tasks === 0)) return;
    if (performance.now() > deadline) {
      progress(`given up: ${open.join(' and ')} tasks are not done`);
      return;
    }
    await delay(POLL_MS, undefined, { signal });
  }
}

/** The last scale-in counts too. One that never comes is not waited for. */
async function asleep(kind: KindBench): Promise<void> {
  for (const { deployment } of Object.values(sides)) await untilGone(kind, deployment).catch(() => undefined);
}

async function runsBy({ release }: KindBench, { database }: Side, load: readonly Arrival[]) {
  const redis = release.redis.duplicate({ db: database });
  try {
    const lines = await Promise.all(load.map(({ id }) => redis.lrange(`run:${id}`, 0, -1)));
    return lines.map(runsOf);
  } finally {
    redis.disconnect();
  }
}

async function resultOf(
  kind: KindBench,
  side: Side,
  played: { load: readonly Arrival[]; started: number; before: ReadonlySet<string> },
): Promise<Result> {
  const { load, started, before } = played;
  const byTask = await runsBy(kind, side, load);
  const pods = [...kind.pods.values()].filter(
    ({ name }) => name.startsWith(side.deployment) && !before.has(name),
  );
  const waits = byTask.flatMap(([first], i) =>
    first ? [(first.began - started - (load[i]?.at ?? NaN)) / 1_000] : [],
  );
  const outcome = outcomeOf(byTask, pods);
  const ends = byTask.flat().flatMap(({ ended }) => (ended === undefined ? [] : [ended]));
  return {
    side: side.name,
    ...outcome,
    pods: pods.length,
    podSeconds: Math.round(podSeconds(pods, Date.now())),
    waitMedian: rounded(median(waits), 3),
    waitP95: rounded(percentile(waits, 0.95), 3),
    doneAfter: outcome.lost > 0 ? undefined : rounded((Math.max(...ends) - started) / 1_000),
  };
}

function report(library: NapLibrary, results: readonly Result[]): Awaited<ReturnType<Bench>> {
  const head = [
    library.name.toUpperCase(),
    'PODS STOPPED',
    'WHILE BUSY',
    'RUNS CUT OFF',
    'TASKS RUN TWICE',
    'LOST',
    'WAIT, S',
    'P95',
    'DONE',
    'POD-S',
  ];
  const rows = results.map((one) => [
    one.side,
    one.stopped,
    one.stoppedBusy,
    one.cutOff,
    one.repeated,
    one.lost,
    one.waitMedian,
    one.waitP95,
    one.doneAfter ?? 'never',
    one.podSeconds,
  ]);
  const [ours] = results;
  const goals = ours
    ? [
        goalOf('busy pods stopped', ours.stoppedBusy),
        goalOf('tasks lost or run twice', ours.lost + ours.repeated),
      ]
    : [];
  return {
    text: `${table(head, rows)}\n${goalLines(goals)}`,
    data: { source: library.name, load: LOAD, faster: FASTER, results, goals: goalRows(goals) },
  };
}

function goalOf(name: string, measured: number): Goal {
  return { name: `Millrace: ${name}`, measured, goal: 0, is: 'at most', unit: '' };
}
