/**
 * `priorities`: what it costs that a worker serves tasks of two more priorities. The same tasks, all of normal priority or all of high, by a
 * worker with and one without: throughput at concurrency 100, and from the push of one task to an idle worker until its result. All take
 * turns.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { workerProgram } from '../cli/dev/worker-program.ts';
import { table } from '../cli/terminal/table.ts';
import { queueKeys } from '../queue/keys.ts';
import { LEVELS, levelName, type Priority } from '../queue/priorities.ts';
import { openQueue } from '../queue/queue.ts';
import { openLevels } from '../queue/served-levels.ts';
import { startChild } from './run/child.ts';
import { listAndHash, type Contestant } from './run/contestants.ts';
import { median, percentile } from './report/figures.ts';
import { startBenchRedis, type BenchRedis } from './run/redis.ts';
import type { Bench } from './report/report.ts';
import { drainRound, waitReady, type Drain } from './run/rounds.ts';
import { expectResult, idOf } from './run/tasks.ts';

const TASKS = 50_000;
const ROUNDS = 7;
const PUSHES = 600;
const BLOCK = 50;
/** Long enough for a worker to block on Redis again; not a multiple of any timer. */
const PAUSE_MS = 3.3;
const WITHOUT = 'without priorities';
const NORMAL = 'with them, tasks of normal priority';
const HIGH = 'with them, tasks of high priority';

interface Measured extends Contestant {
  readonly queue: string;
  readonly priority: Priority;
}

export const priorities: Bench = async ({ rounds = ROUNDS, tasks = TASKS, signal, progress }) => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startBenchRedis(progress));
  const draining = contestants(server, 100, stack);
  const drains = new Map<string, Drain[]>(draining.map(({ name }) => [name, []]));
  for (const one of draining) await waitReady(one, signal);
  for (let round = -1; round < rounds; round++) {
    for (const one of draining) {
      const drain = await drainRound(server, one, tasks);
      // the first is to warm up
      if (round >= 0) drains.get(one.name)?.push(drain);
    }
    progress(`${round + 1} of ${rounds} rounds`);
  }
  const idle = contestants(server, 1, stack);
  for (const one of idle) await waitReady(one, signal);
  const latencies = await measureLatencies(server, idle, signal);
  const rows = draining.map(({ name }) => {
    const of = (what: (drain: Drain) => number): number => median((drains.get(name) ?? []).map(what));
    const waits = latencies.get(name) ?? [];
    return {
      name,
      tasksPerSecond: of((drain) => drain.tasksPerSecond),
      workerUs: of((drain) => drain.clientUs),
      redisUs: of((drain) => drain.redisUs),
      p50Ms: percentile(waits, 0.5),
      p99Ms: percentile(waits, 0.99),
    };
  });
  const text = table(
    ['WORKER', 'TASKS/S', 'WORKER µS/TASK', 'REDIS µS/TASK', 'IDLE P50', 'P99'],
    rows.map(({ name, tasksPerSecond, workerUs, redisUs, p50Ms, p99Ms }) => [
      name,
      Math.round(tasksPerSecond),
      workerUs.toFixed(2),
      redisUs.toFixed(2),
      `${p50Ms.toFixed(2)} ms`,
      `${p99Ms.toFixed(2)} ms`,
    ]),
  );
  return { text, data: { tasks, rounds, rows } };
};

/** One worker process without priorities, and one with them, which appears twice. */
function contestants(server: BenchRedis, concurrency: number, stack: AsyncDisposableStack): Measured[] {
  const [plain, served] = [`plain-${concurrency}`, `served-${concurrency}`];
  const one = worker(server, { name: WITHOUT, queue: plain, concurrency, priority: 'normal' });
  const two = worker(server, { name: NORMAL, queue: served, concurrency, priority: 'normal', serves: true });
  stack.use(one);
  stack.use(two);
  const high = levelName(served, 'high');
  return [one, two, { ...two, ...listAndHash(HIGH, server, high, `${served}:result`), priority: 'high' }];
}

interface WorkerOf {
  readonly name: string;
  readonly queue: string;
  readonly concurrency: number;
  readonly priority: Priority;
  readonly serves?: boolean;
}

function worker(server: BenchRedis, { name, queue, concurrency, priority, serves }: WorkerOf): Measured {
  const result = `${queue}:result`;
  const module = `${import.meta.dirname}/workers/handler.ts`;
  const retry = { attempts: 5, backoff: { initialMs: 1_000, maxMs: 60_000, jitter: true } };
  const of = { redis: { url: server.url }, queue, result, module, concurrency, graceMs: 5_000, retry };
  const settings = serves ? { ...of, priorities: LEVELS } : of;
  const child = startChild(workerProgram(settings, queue, process.env));
  const keys = queueKeys(queue, result);
  return {
    ...listAndHash(name, server, queue, result),
    queue,
    priority,
    children: [child],
    ready: async () => {
      if (serves) await openLevels(server.redis, keys, LEVELS);
      return (await server.redis.zcard(keys.workers)) === 1;
    },
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

async function measureLatencies(
  server: BenchRedis,
  idle: readonly Measured[],
  signal: AbortSignal,
): Promise<Map<string, number[]>> {
  await using stack = new AsyncDisposableStack();
  const clients = idle.map((one) => {
    const { queue } = one;
    return {
      one,
      waits: [] as number[],
      client: stack.use(openQueue({ redis: server.url, queue, result: `${queue}:result` })),
    };
  });
  let next = 0;
  for (let done = -BLOCK; done < PUSHES; done += BLOCK)
    for (const { one, waits, client } of clients)
      for (let i = 0; i < BLOCK; i++) {
        await delay(PAUSE_MS, undefined, { signal });
        const task = next++;
        const started = performance.now();
        const id = await client.enqueue({ id: idOf(task), n: task }, { priority: one.priority });
        const value = await client.result(id, { timeoutMs: 10_000 });
        if (done >= 0) waits.push(performance.now() - started);
        expectResult(value, task, one.name);
      }
  return new Map(clients.map(({ one, waits }) => [one.name, waits]));
}
