/**
 * `delayed`: how late delayed tasks begin, and what many that are due at one moment cost. A warm, idle worker of concurrency 10 runs
 * tasks whose due times are spread at random; lateness is the time from there to the call of the handler. Then 100,000 are
 * due at once: the slowest command of the server is the time for which nobody else was served.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { table } from '../cli/terminal/table.ts';
import { workerProgram } from '../cli/dev/worker-program.ts';
import { queueKeys } from '../queue/keys.ts';
import { openQueue, type Queue } from '../queue/queue.ts';
import { startChild } from './child.ts';
import { goalLines, goalRows, median, percentile, rounded, thousands, type Goal } from './figures.ts';
import { startBenchRedis, type BenchRedis } from './redis.ts';
import type { Bench, BenchOptions } from './report.ts';

const SPREAD = 1_000;
const BURST = 100_000;
/** Between two tasks that are spread, on average, ms: the worker is idle before most of them. */
const APART_MS = 20;
const POLL_MS = 20;
const STUCK_MS = 120_000;
/** So much earlier than they are due, tasks are enqueued, ms. */
const AHEAD_MS = 1_000;
const CONCURRENCY = 10;

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
          module: `${import.meta.dirname}/handler-clock.ts`,
          concurrency: CONCURRENCY,
          graceMs: 5_000,
          retry: { attempts: 1, backoff: { initialMs: 1_000, maxMs: 60_000, jitter: true } },
        },
        'delayed',
        process.env,
      ),
    ),
  );
  const scene = { server, queue, options, alive: () => worker.expectAlive() };
  await until(scene, async () => (await server.redis.zcard(keys.workers)) === 1);
  options.progress(`${SPREAD} tasks with due times of their own`);
  const lateMs = await spread(scene, options.rounds ?? SPREAD);
  const burst = await dueAtOnce(scene, options.tasks ?? BURST);
  return report(server, lateMs, burst);
};

interface Scene {
  readonly server: BenchRedis;
  readonly queue: Queue;
  readonly options: BenchOptions;
  readonly alive: (this: void) => Promise<void>;
}

/** Lateness of each task, ms. */
async function spread(scene: Scene, count: number): Promise<number[]> {
  const { server, queue } = scene;
  const start = Date.now() + AHEAD_MS;
  const due = Array.from({ length: count }, () => start + Math.random() * count * APART_MS).map(Math.round);
  await Promise.all(due.map((at, i) => queue.enqueue({ id: `s${i}` }, { at: new Date(at) })));
  await until(scene, async () => (await server.redis.hlen(keys.result)) === count, count * APART_MS);
  const called = await server.redis.hmget(keys.result, ...due.map((_, i) => `s${i}`));
  await server.redis.del(keys.result);
  return called.map((at, i) => Number(at) - (due[i] ?? NaN));
}

interface Burst {
  readonly tasks: number;
  /** From the due time to the last result. */
  readonly tookMs: number;
  readonly slowestMs: number;
  readonly overTenMs: number;
}

async function dueAtOnce(scene: Scene, tasks: number): Promise<Burst> {
  const { server, queue, options } = scene;
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
  await until(scene, async () => (await server.redis.hlen(keys.result)) === tasks, aheadMs);
  const tookMs = Date.now() - due;
  const slow = (await server.redis.call('SLOWLOG', 'GET', '-1')) as [number, number, number][];
  const tookSlow = slow.map(([, , us]) => us / 1_000);
  return {
    tasks,
    tookMs,
    slowestMs: Math.max(1, ...tookSlow),
    overTenMs: tookSlow.filter((ms) => ms > 10).length,
  };
}

async function until({ options, alive }: Scene, done: () => Promise<boolean>, usualMs = 0): Promise<void> {
  const end = performance.now() + usualMs + STUCK_MS;
  while (!(await done())) {
    await alive();
    if (performance.now() > end) throw new Error('the tasks are not finished: the figures are meaningless');
    await delay(POLL_MS, undefined, { signal: options.signal });
  }
}

function report(server: BenchRedis, lateMs: readonly number[], burst: Burst): Awaited<ReturnType<Bench>> {
  const late = {
    tasks: lateMs.length,
    p50Ms: rounded(median(lateMs), 3),
    p99Ms: rounded(percentile(lateMs, 0.99), 3),
    maxMs: Math.max(...lateMs),
    earliestMs: Math.min(...lateMs),
  };
  const goals: Goal[] = [
    { name: 'late at p99', measured: late.p99Ms, goal: 50, is: 'at most', unit: ' ms' },
    { name: 'none early', measured: late.earliestMs, goal: 0, is: 'at least', unit: ' ms' },
    { name: 'slowest command in the burst', measured: burst.slowestMs, goal: 10, is: 'at most', unit: ' ms' },
  ];
  const rows = [
    ['due times of their own', late.tasks, `${late.p50Ms}`, `${late.p99Ms}`, `${late.maxMs}`, '', ''],
    [
      'due at once',
      burst.tasks,
      '',
      '',
      rounded(burst.tookMs, 3),
      rounded(burst.slowestMs, 3),
      burst.overTenMs,
    ],
  ];
  const header = ['', 'TASKS', 'LATE P50 MS', 'P99', 'MAX', 'SLOWEST COMMAND MS', 'OVER 10 MS'];
  return {
    text: `${table(header, rows)}\n${goalLines(goals)}`,
    data: { redis: server.version, late, burst, goals: goalRows(goals) },
  };
}
