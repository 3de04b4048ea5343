/**
 * `delayed`: how late delayed tasks begin, and what many that are due at one moment cost. A warm, idle worker of concurrency 10 runs
 * tasks whose due times are spread at random; lateness is the time from there to the call of the handler. Among them are as
 * many that this process pushes at times that are spread alike: how late those begin is what nobody can do better. Then 100,000
 * are due at once: the slowest command of the server is the time for which nobody else was served.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { table } from '../cli/terminal/table.ts';
import { workerProgram } from '../cli/dev/worker-program.ts';
import { queueKeys } from '../queue/keys.ts';
import { openQueue, type Queue } from '../queue/queue.ts';
import { cpuMsOf, startChild } from './run/child.ts';
import {
  costFigure,
  goalLines,
  goalRows,
  median,
  parts,
  percentile,
  ratios,
  rounded,
  thousands,
  type Figure,
  type Goal,
} from './report/figures.ts';
import { startBenchRedis, type BenchRedis } from './run/redis.ts';
import type { Bench, BenchOptions } from './report/report.ts';

const SPREAD = 1_000;
const BURST = 100_000;
/** Between two tasks that are spread, on average, ms: the worker is idle before most of them. */
const APART_MS = 20;
const POLL_MS = 20;
const STUCK_MS = 120_000;
/** So much earlier than they are due, tasks are enqueued, ms. */
const AHEAD_MS = 1_000;
const CONCURRENCY = 10;
const BURSTS = 3;
/** Parts of the tasks that are spread, whose ratios are compared. */
const PARTS = 5;

const keys = queueKeys('delayed', 'delayed:result');

export const delayed: Bench = async (options) => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startBenchRedis(options.progress));
  const queue = stack.use(openQueue({ redis: server.url, queue: keys.queue, result: keys.result }));
  const worker = stack.use(
    startChild(
      workerProgram(
        {
          redis: { url: server.url },
          queue: keys.queue,
          result: keys.result,
          module: `${import.meta.dirname}/workers/handler-clock.ts`,
          concurrency: CONCURRENCY,
          graceMs: 5_000,
          retry: { attempts: 1, backoff: { initialMs: 1_000, maxMs: 60_000, jitter: true } },
        },
        'delayed',
        process.env,
      ),
    ),
  );
  const scene = { server, queue, options, pid: worker.pid, alive: () => worker.expectAlive() };
  await until(scene, async () => (await server.redis.zcard(keys.workers)) === 1);
  const count = options.rounds ?? SPREAD;
  options.progress(`${thousands(count)} tasks with due times of their own, and as many that are pushed`);
  const lateness = await spread(scene, count);
  const bursts: Burst[] = [];
  for (let i = 0; i < BURSTS; i++) bursts.push(await dueAtOnce(scene, options.tasks ?? BURST));
  return report(server, lateness, bursts);
};

interface Scene {
  readonly server: BenchRedis;
  readonly queue: Queue;
  readonly options: BenchOptions;
  /** The worker's. */
  readonly pid: number;
  readonly alive: (this: void) => Promise<void>;
}

/** Of each task, ms, in the order of their due times. */
interface Lateness {
  readonly delayed: readonly number[];
  readonly pushed: readonly number[];
}

async function spread(scene: Scene, count: number): Promise<Lateness> {
  const { server, queue, options } = scene;
  const lastsMs = 2 * count * APART_MS;
  const start = Date.now() + AHEAD_MS;
  const times = (): number[] =>
    Array.from({ length: count }, () => Math.round(start + Math.random() * lastsMs)).toSorted(
      (a, b) => a - b,
    );
  const [due, pushes] = [times(), times()];
  const enqueued = due.map((at, i) => queue.enqueue({ id: `d${i}` }, { at: new Date(at) }));
  for (const [i, at] of pushes.entries()) {
    const leftMs = at - Date.now();
    if (leftMs > 0) await delay(leftMs, undefined, { signal: options.signal });
    enqueued.push(queue.enqueue({ id: `p${i}` }));
  }
  await Promise.all(enqueued);
  await until(scene, async () => (await server.redis.hlen(keys.result)) === 2 * count);
  const late = async (wanted: readonly number[], prefix: string): Promise<number[]> => {
    const called = await server.redis.hmget(keys.result, ...wanted.map((_, i) => `${prefix}${i}`));
    return called.map((at, i) => Number(at) - (wanted[i] ?? NaN));
  };
  const lateness = { delayed: await late(due, 'd'), pushed: await late(pushes, 'p') };
  await server.redis.del(keys.result);
  return lateness;
}

interface Burst {
  readonly tasks: number;
  /** From the due time to the last result. */
  readonly tookMs: number;
  readonly slowestMs: number;
  readonly overTenMs: number;
  /** CPU time per task, µs, from the due time to the last result. */
  readonly redisUs: number;
  readonly workerUs: number;
}

async function dueAtOnce(scene: Scene, tasks: number): Promise<Burst> {
  const { server, queue, options, pid } = scene;
  options.progress(`${thousands(tasks)} tasks that are due at once`);
  // what they are enqueued with is not what is measured
  const aheadMs = 5_000 + tasks / 10;
  const due = Date.now() + aheadMs;
  await queue.enqueueMany(
    (function* () {
      for (let i = 0; i < tasks; i++) yield { id: `b${i}` };
    })(),
    { at: new Date(due) },
  );
  if (Date.now() > due - 500)
    throw new Error(`${tasks} tasks were not enqueued before they were due: this machine is too slow for it`);
  await server.redis.config('SET', 'slowlog-log-slower-than', 1_000);
  await server.redis.config('SET', 'slowlog-max-len', 100_000);
  await server.redis.call('SLOWLOG', 'RESET');
  await delay(due - Date.now(), undefined, { signal: options.signal });
  const [redisBefore, workerBefore] = [await server.cpuMs(), cpuMsOf(pid) ?? NaN];
  await until(scene, async () => (await server.redis.hlen(keys.result)) === tasks);
  const tookMs = Date.now() - due;
  const [redisMs, workerMs] = [await server.cpuMs(), cpuMsOf(pid) ?? NaN];
  const slow = (await server.redis.call('SLOWLOG', 'GET', '-1')) as [number, number, number][];
  const tookSlow = slow.map(([, , us]) => us / 1_000);
  await server.redis.unlink(keys.result);
  return {
    tasks,
    tookMs,
    slowestMs: Math.max(1, ...tookSlow),
    overTenMs: tookSlow.filter((ms) => ms > 10).length,
    redisUs: (1e3 * (redisMs - redisBefore)) / tasks,
    workerUs: (1e3 * (workerMs - workerBefore)) / tasks,
  };
}

async function until({ options, alive }: Scene, done: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + STUCK_MS;
  while (!(await done())) {
    await alive();
    if (performance.now() > end) throw new Error('the tasks are not finished: the figures are meaningless');
    await delay(POLL_MS, undefined, { signal: options.signal });
  }
}

function report(
  server: BenchRedis,
  { delayed: lateMs, pushed }: Lateness,
  bursts: readonly Burst[],
): Awaited<ReturnType<Bench>> {
  const summary = (
    values: readonly number[],
  ): Record<'tasks' | 'p50Ms' | 'p99Ms' | 'maxMs' | 'earliestMs', number> => ({
    tasks: values.length,
    p50Ms: rounded(median(values), 3),
    p99Ms: rounded(percentile(values, 0.99), 3),
    maxMs: Math.max(...values),
    earliestMs: Math.min(...values),
  });
  const of = (key: keyof Burst): number[] => bursts.map((one) => one[key]);
  const late = summary(lateMs);
  const slowestMs = Math.max(...of('slowestMs'));
  const figures = figuresOf({ delayed: lateMs, pushed }, of('redisUs'), of('workerUs'));
  const goals: Goal[] = [
    { name: 'late at p99', measured: late.p99Ms, goal: 50, is: 'at most', unit: ' ms' },
    { name: 'none early', measured: late.earliestMs, goal: 0, is: 'at least', unit: ' ms' },
    { name: 'slowest command in the bursts', measured: slowestMs, goal: 10, is: 'at most', unit: ' ms' },
  ];
  const spreadRow = (name: string, values: readonly number[]): (string | number)[] => {
    const shares = [0.5, 0.99].map((share) => String(rounded(percentile(values, share), 3)));
    return [name, values.length, ...shares, String(Math.max(...values)), '', ''];
  };
  const rows = [
    spreadRow('due times of their own', lateMs),
    spreadRow('pushed at such times', pushed),
    ...bursts.map(({ tasks, tookMs, slowestMs: ms, overTenMs }) => [
      'due at once',
      tasks,
      '',
      '',
      rounded(tookMs, 3),
      rounded(ms, 3),
      overTenMs,
    ]),
  ];
  const header = ['', 'TASKS', 'LATE P50 MS', 'P99', 'MAX', 'SLOWEST COMMAND MS', 'OVER 10 MS'];
  return {
    text: `${table(header, rows)}\n${goalLines(goals)}`,
    data: { redis: server.version, late, pushed: summary(pushed), bursts, goals: goalRows(goals) },
    figures,
  };
}

function figuresOf({ delayed: own, pushed }: Lateness, redisUs: number[], workerUs: number[]): Figure[] {
  // clocks of whole ms: what begins within the same one is half of it late
  const late = (values: readonly number[], share: number): number[] =>
    parts(values, PARTS).map((some) => percentile(some, share) + 0.5);
  const ratio = (name: string, share: number): Figure => ({
    name,
    unit: '×',
    is: 'at most',
    values: ratios(late(own, share), late(pushed, share)),
  });
  return [
    ratio('lateness, to that of tasks that are pushed: p50', 0.5),
    ratio('lateness, to that of tasks that are pushed: p99', 0.99),
    costFigure('Redis, a task of many that are due at once', redisUs),
    costFigure('worker, a task of many that are due at once', workerUs),
  ];
}
