/**
 * `burst`: 200 tasks of 1 s in one push to a pool that is at zero and has learned nothing, with one slot a pod and at most ten
 * pods, on a cluster made with kind: when the last result is there, and how many pod-seconds it took until all pods are gone.
 *
 * A pod counts from when the API server has it until it is gone there. Whether a busy worker was stopped is known from the
 * handlers' own ledger (each task begun once and ended once), from restarts of containers, and from what Redis has counted.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { table } from '../cli/terminal/table.ts';
import { queueKeys } from '../queue/keys.ts';
import { SYSTEM } from '../test/support/kind-install.ts';
import { squares, squaresTemplate, type Answer } from '../test/support/squares.ts';
import { goalLines, goalRows, rounded, type Goal } from './report/figures.ts';
import { podSeconds, raisedAt, startKind, untilGone, type KindBench, type PodLife } from './run/kind.ts';
import type { Bench } from './report/report.ts';

const TASKS = 200;
const TASK_MS = 1_000;
const MAX_REPLICAS = 10;
const POLL_MS = 10;
const STUCK_MS = 180_000;
const REST_MS = 2_000;

/** Each of them what a user would write: by a target alone, by a target or a number and with no patience. */
const settings = [
  { pool: 'target', says: 'targetWait: 10s', scaling: { targetWait: '10s' } },
  {
    pool: 'brief',
    says: 'targetWait: 10s, window: 2s',
    scaling: { targetWait: '10s', scaleDown: { window: '2s' } },
  },
  {
    pool: 'plain',
    says: 'tasksPerReplica: 5, window: 2s',
    scaling: { tasksPerReplica: 5, scaleDown: { window: '2s' } },
  },
];

interface Burst {
  readonly settings: string;
  /** Before the first, the pool has learned nothing. */
  readonly round: number;
  /** Times in s since the push. */
  readonly raised: number;
  readonly begun: number;
  /** When the last pod began its first task. */
  readonly allBegun: number;
  readonly done: number;
  readonly asleep: number;
  readonly pods: number;
  readonly podSeconds: number;
  /** Until the last result only. */
  readonly podSecondsDone: number;
  readonly busyKilled: number;
}

export const burst: Bench = async ({ rounds = 1, progress, signal }) => {
  await using stack = new AsyncDisposableStack();
  const kind = await startKind(stack, progress, signal);
  const bursts: Burst[] = [];
  for (const one of settings) {
    await apply(kind, one.pool, one.scaling);
    for (let round = 1; round <= rounds; round++) {
      signal.throwIfAborted();
      const made = { settings: one.says, round, ...(await oneBurst(kind, one.pool, `${round}-`)) };
      bursts.push(made);
      progress(
        `${one.says}: ${round} of ${rounds}: done after ${made.done} s, ${made.podSeconds} pod-seconds`,
      );
    }
  }
  return report(bursts);
};

async function apply({ release }: KindBench, name: string, scaling: object): Promise<void> {
  const { namespace, cluster, redisUrl: url } = release;
  const env = [{ name: 'LEDGER', value: `millrace-redis.${SYSTEM}:6379/${name}:ledger` }];
  const spec = {
    redis: { url },
    queue: `${name}:queue`,
    result: `${name}:result`,
    maxReplicas: MAX_REPLICAS,
    template: squaresTemplate({ env }),
    scaling,
  };
  const pool = {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { name, namespace },
    spec,
  };
  await cluster.applyYaml(JSON.stringify(pool));
  await cluster.kubectl([
    'wait',
    '--for',
    'condition=Ready',
    `workerpool/${name}`,
    '-n',
    namespace,
    '--timeout',
    '60s',
  ]);
}

async function oneBurst(
  kind: KindBench,
  pool: string,
  prefix: string,
): Promise<Omit<Burst, 'settings' | 'round'>> {
  const { redis } = kind.release;
  const tasks = squares(TASKS, TASK_MS, prefix);
  const hash = `${pool}:result`;
  const had = await redis.hlen(hash);
  const before = new Set(kind.pods.keys());
  await delay(REST_MS);
  const pushed = Date.now();
  await redis.lpush(`${pool}:queue`, ...tasks.map((task) => JSON.stringify(task)));
  while ((await redis.hlen(hash)) < had + TASKS) {
    if (Date.now() > pushed + STUCK_MS) throw new Error(`the burst of ${pool} is stuck`);
    await delay(POLL_MS);
  }
  const done = Date.now();
  await untilGone(kind, pool);
  const pods = [...kind.pods.values()].filter(({ name }) => !before.has(name));
  const answers = await redis.hmget(hash, ...tasks.map(({ id }) => id));
  const runs = answers.map((text): Answer => JSON.parse(text ?? 'null'));
  const firsts = [...Map.groupBy(runs, (run) => run.pod).values()].map((own) =>
    Math.min(...own.map(({ began }) => began)),
  );
  const since = (at: number): number => (at - pushed) / 1_000;
  return {
    raised: since(await raisedAt(kind, pool, pushed)),
    begun: since(Math.min(...firsts)),
    allBegun: since(Math.max(...firsts)),
    done: since(done),
    asleep: since(Math.max(...pods.map(({ gone }) => gone ?? NaN))),
    pods: pods.length,
    podSeconds: podSeconds(pods, Infinity),
    podSecondsDone: podSeconds(pods, done),
    busyKilled: await busyKilled(kind, pool, prefix, pods),
  };
}

/** The largest of: interrupted or repeated runs, restarts, and lost workers as counted in Redis. */
async function busyKilled(
  { release }: KindBench,
  pool: string,
  prefix: string,
  pods: readonly PodLife[],
): Promise<number> {
  const { redis } = release;
  const lines = (await redis.lrange(`${pool}:ledger`, 0, -1)).map((line) => line.split(' '));
  const count = (word: string): number =>
    lines.filter(([what, id]) => what === word && id?.startsWith(prefix)).length;
  if (count('end') < TASKS)
    throw new Error(`only ${count('end')} of ${TASKS} tasks ended by their own account`);
  const { fenced = 0, recovered = 0 } = await redis.hgetall(
    queueKeys(`${pool}:queue`, `${pool}:result`).stats,
  );
  const restarts = pods.reduce((sum, pod) => sum + pod.restarts, 0);
  return Math.max(
    count('begin') - count('end'),
    count('end') - TASKS,
    restarts,
    Number(fenced),
    Number(recovered),
  );
}

function report(bursts: readonly Burst[]): Awaited<ReturnType<Bench>> {
  const head = [
    'POOL',
    'ROUND',
    'RAISED',
    'FIRST BEGUN',
    'LAST POD',
    'DONE',
    'ASLEEP',
    'PODS',
    'POD-S',
    'TO DONE',
    'BUSY KILLED',
  ];
  const rows = bursts.map((one) => [
    one.settings,
    one.round,
    ...[one.raised, one.begun, one.allBegun, one.done, one.asleep].map((seconds) => rounded(seconds, 3)),
    one.pods,
    ...[one.podSeconds, one.podSecondsDone].map((seconds) => Math.round(seconds)),
    one.busyKilled,
  ]);
  const goals = bursts.flatMap(
    ({ settings: pool, round, done, podSeconds: used, busyKilled: killed }): Goal[] => {
      const of = bursts.length > settings.length ? `${pool}, ${round}` : pool;
      return [
        { name: `${of}: done`, measured: done, goal: 23, is: 'at most', unit: ' s' },
        { name: `${of}: pod-seconds`, measured: used, goal: 250, is: 'at most', unit: '' },
        { name: `${of}: busy workers killed`, measured: killed, goal: 0, is: 'at most', unit: '' },
      ];
    },
  );
  const peers =
    'Not measured here: KEDA 2.21 with its defaults, on such a cluster, took 68 s and 425 pod-seconds.\n';
  return {
    text: `seconds since the push; pod-seconds until all pods are gone, and until the last result\n${table(head, rows)}\n${goalLines(goals)}\n${peers}`,
    data: { bursts, goals: goalRows(goals) },
  };
}
