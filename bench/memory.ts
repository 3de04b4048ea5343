/**
 * `memory`: what a worker (the bundle, run as in the image) takes to start and holds while it is idle, whether it grows over many
 * tasks, and what a task in flight costs in Redis compared with one that waits.
 *
 * Resident memory counts the pages of Node's own file too, which all workers of a machine share; what one more worker costs
 * is the private part. Both are told.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { workerProgram, type WorkerSettings } from '../cli/dev/worker-program.ts';
import { queueKeys } from '../queue/keys.ts';
import { startChild, type Child, type ProcessMemory } from './run/child.ts';
import {
  goalLines,
  goalRows,
  goalsOf,
  median,
  parts,
  ratios,
  rounded,
  thousands,
  type Figure,
  type Goal,
} from './report/figures.ts';
import { startBenchRedis, type BenchRedis } from './run/redis.ts';
import type { Bench, BenchOptions } from './report/report.ts';
import { pushTasks } from './run/tasks.ts';
import { prepareWorkerBundle, type WorkerBundle } from './run/worker-bundle.ts';
import { look, measureStarts, type Starts } from './run/worker-start.ts';

const TASKS = 1_000_000;
const CHUNKS = 20;
/** The maximum concurrency of a worker. */
const IN_FLIGHT = 10_000;
const POLL_MS = 20;
const STUCK_TIMEOUT_MS = 30_000;

const WORKER = 'memory';
const NAMES = { queue: 'memory', result: 'memory:result' };

export const memory: Bench = async (options) => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startBenchRedis(options.progress));
  options.progress('bundling the worker');
  const bundle = await prepareWorkerBundle(stack);
  const starts = await measureStarts(server, bundle, options);
  const growth = await measureGrowth(server, bundle, options);
  const perTask = await measureInFlight(server);
  const figures = figuresOf(starts, growth, perTask);
  const goals: Goal[] = [
    ...goalsOf(figures),
    // garbage that is not collected yet is no growth
    {
      name: 'growth, second half of the tasks',
      measured: growth.grownMb,
      goal: 5,
      is: 'at most',
      unit: ' MB',
    },
  ];
  const { workerMs, nodeMs, idle } = starts;
  const lines = [
    `processor time until the first task, ms: ${rounded(median(workerMs), 3)}; of a Node that runs nothing: ${rounded(median(nodeMs), 3)}`,
    `idle worker: ${inWords(middleOf(idle))}; after ${thousands(growth.tasks)} tasks: ${inWords(growth.last)}`,
    `resident after each ${thousands(growth.tasks / CHUNKS)} tasks, MB: ${growth.courseMb.map(Math.round).join(' ')}`,
    `Redis memory: ${perTask.waitingBytes} bytes for a task of ${perTask.taskBytes} bytes that waits, ${perTask.inFlightBytes} in flight`,
  ];
  return {
    text: `${lines.join('\n')}\n\n${goalLines(goals)}`,
    data: { redis: server.version, starts, ...growth, redisBytesPerTask: perTask, goals: goalRows(goals) },
    figures,
  };
};

function figuresOf({ workerMs, nodeMs, idle }: Starts, growth: Growth, perTask: PerTask): Figure[] {
  const most = (
    name: string,
    unit: Figure['unit'],
    values: number[],
    more: Partial<Figure> = {},
  ): Figure => ({
    name,
    unit,
    is: 'at most',
    values,
    ...more,
  });
  return [
    most('processor time from start to first task', ' ms', workerMs, { goal: 60, processorTime: true }),
    most('processor time to first task, to that of a Node that runs nothing', '×', ratios(workerMs, nodeMs)),
    most(
      'idle worker, resident',
      ' MB',
      idle.map(({ residentMb }) => residentMb),
      { goal: 52 },
    ),
    most(
      'idle worker, its own',
      ' MB',
      idle.map(({ privateMb }) => privateMb),
      { goal: 12 },
    ),
    most('busy worker, resident', ' MB', parts(growth.courseMb.slice(CHUNKS / 2), 5).map(median), {
      least: 5,
    }),
    most('Redis, a task that waits', ' bytes', [perTask.waitingBytes]),
    most('Redis, a task in flight', ' bytes', [perTask.inFlightBytes]),
  ];
}

function middleOf(all: readonly ProcessMemory[]): ProcessMemory {
  const of = (key: keyof ProcessMemory): number => median(all.map((one) => one[key]));
  return { residentMb: of('residentMb'), privateMb: of('privateMb') };
}

function inWords({ residentMb, privateMb }: ProcessMemory): string {
  return `${rounded(residentMb, 3)} MB (${rounded(privateMb, 3)} MB of it private)`;
}

const settingsOf = (server: BenchRedis, concurrency: number): WorkerSettings => ({
  redis: { url: server.url },
  ...NAMES,
  concurrency,
  graceMs: 1_000,
  retry: { attempts: 5, backoff: { initialMs: 1_000, maxMs: 60_000, jitter: true } },
});

async function until(what: string, child: Child, holds: () => Promise<boolean>): Promise<void> {
  const started = performance.now();
  while (!(await holds())) {
    await child.expectAlive();
    if (performance.now() - started > STUCK_TIMEOUT_MS)
      throw new Error(`not within ${STUCK_TIMEOUT_MS / 1_000} s: ${what}`);
    await delay(POLL_MS);
  }
}

async function measureGrowth(
  server: BenchRedis,
  bundle: WorkerBundle,
  options: BenchOptions,
): Promise<Growth> {
  const { redis } = server;
  const tasks = options.tasks ?? TASKS;
  const keys = queueKeys(NAMES.queue, NAMES.result);
  await using child = startChild(await bundle.program(settingsOf(server, 100), WORKER, 'handler.ts'));
  await until('the worker is registered', child, async () => (await redis.zcard(keys.workers)) === 1);
  const courseMb: number[] = [];
  for (let chunk = 1; chunk <= CHUNKS; chunk++) {
    const looks: number[] = [];
    for (let left = Math.round(tasks / CHUNKS); left > 0; left -= 50_000) {
      options.signal.throwIfAborted();
      const count = Math.min(left, 50_000);
      await pushTasks(redis, keys.queue, count);
      await until('all tasks have results', child, async () => {
        looks.push(look(child).residentMb);
        return (await redis.hlen(keys.result)) === count;
      });
      await redis.del(keys.result);
    }
    courseMb.push(rounded(median(looks), 4));
    options.progress(`${thousands((chunk * tasks) / CHUNKS)} tasks: ${rounded(median(looks), 3)} MB`);
  }
  const half = CHUNKS / 2;
  // the first half warms up compilers and heap; then the beginning and the end of the second half are compared
  const grownMb = median(courseMb.slice(-half / 2)) - median(courseMb.slice(half, -half / 2));
  return { tasks, last: look(child), grownMb: rounded(grownMb), courseMb };
}

interface Growth {
  readonly tasks: number;
  readonly last: ProcessMemory;
  readonly grownMb: number;
  readonly courseMb: readonly number[];
}

interface PerTask {
  readonly taskBytes: number;
  readonly waitingBytes: number;
  readonly inFlightBytes: number;
}

async function measureInFlight(server: BenchRedis): Promise<PerTask> {
  const { redis } = server;
  const keys = queueKeys(NAMES.queue, NAMES.result);
  await redis.flushall();
  await pushTasks(redis, keys.queue, IN_FLIGHT);
  const bytes = async (key: string): Promise<number> => (await redis.memory('USAGE', key, 'SAMPLES', 0)) ?? 0;
  const waiting = await bytes(keys.queue);
  const taskBytes = Buffer.concat(await redis.lrangeBuffer(keys.queue, 0, -1)).length;
  const module = `${import.meta.dirname}/workers/handler-patient.ts`;
  await using child = startChild(
    workerProgram({ ...settingsOf(server, IN_FLIGHT), module }, WORKER, process.env),
  );
  await until(
    'all are in flight',
    child,
    async () => (await redis.hlen(keys.inflight(WORKER))) === IN_FLIGHT,
  );
  const inFlight = await bytes(keys.inflight(WORKER));
  const each = (total: number): number => rounded(total / IN_FLIGHT, 3);
  return { taskBytes: each(taskBytes), waitingBytes: each(waiting), inFlightBytes: each(inFlight) };
}
