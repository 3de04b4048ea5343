/**
 * `memory`: what an idle worker (the bundle, run as in the image) holds, whether it grows over many tasks, and what a task in
 * flight costs in Redis compared with one that waits.
 *
 * Resident memory counts the pages of Node's own file too, which all workers of a machine share; what one more worker costs
 * is the private part. Both are told.
 */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { bundleLaunched } from '../scripts/bundle.ts';
import { workerProgram, type WorkerSettings } from '../cli/dev/worker-program.ts';
import { queueKeys } from '../queue/keys.ts';
import { memoryOf, startChild, type Child, type ProcessMemory } from './child.ts';
import { goalLines, goalRows, median, rounded, thousands, type Goal } from './figures.ts';
import { startBenchRedis, type BenchRedis } from './redis.ts';
import type { Bench, BenchOptions } from './report.ts';
import { pushTasks } from './tasks.ts';

const TASKS = 1_000_000;
const CHUNKS = 20;
const IDLE_MS = 5_000;
/** The maximum concurrency of a worker. */
const IN_FLIGHT = 10_000;
const POLL_MS = 20;
const STUCK_TIMEOUT_MS = 30_000;

const WORKER = 'memory';
const NAMES = { queue: 'memory', result: 'memory:result' };

export const memory: Bench = async (options) => {
  await using server = await startBenchRedis(options.progress);
  options.progress('bundling the worker');
  await bundleLaunched();
  const growth = await measureGrowth(server, options);
  const perTask = await measureInFlight(server);
  const goals: Goal[] = [
    { name: 'idle worker', measured: growth.idle.residentMb, goal: 60, is: 'at most', unit: ' MB' },
    // garbage that is not collected yet is no growth
    {
      name: 'growth, second half of the tasks',
      measured: growth.grownMb,
      goal: 5,
      is: 'at most',
      unit: ' MB',
    },
  ];
  const lines = [
    `idle worker: ${inWords(growth.idle)}; after ${thousands(growth.tasks)} tasks: ${inWords(growth.last)}`,
    `resident after each ${thousands(growth.tasks / CHUNKS)} tasks, MB: ${growth.courseMb.map(Math.round).join(' ')}`,
    `Redis memory: ${perTask.waitingBytes} bytes for a task of ${perTask.taskBytes} bytes that waits, ${perTask.inFlightBytes} in flight`,
  ];
  return {
    text: `${lines.join('\n')}\n\n${goalLines(goals)}`,
    data: { redis: server.version, ...growth, redisBytesPerTask: perTask, goals: goalRows(goals) },
  };
};

function inWords({ residentMb, privateMb }: ProcessMemory): string {
  return `${rounded(residentMb, 3)} MB (${rounded(privateMb, 3)} MB of it private)`;
}

const settingsOf = (server: BenchRedis, module: string, concurrency: number): WorkerSettings => ({
  redis: { url: server.url },
  ...NAMES,
  module,
  concurrency,
  graceMs: 1_000,
  retry: { attempts: 5, backoff: { initialMs: 1_000, maxMs: 60_000, jitter: true } },
});

/** The bundle with the flags of the image, and with the compiled code that the build of the image keeps. */
async function startBundle(server: BenchRedis, stack: AsyncDisposableStack): Promise<Child> {
  const root = `${import.meta.dirname}/..`;
  const entryPoint = /^ENTRYPOINT (\[.*\])$/m.exec(
    await readFile(`${root}/images/worker.Dockerfile`, 'utf8'),
  );
  const command = JSON.parse(entryPoint?.[1] ?? '[]') as string[];
  // behind the container's first process
  const flags = command.slice(command.indexOf('node') + 1);
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  // the handler as JavaScript: Node's TypeScript support would weigh more than the worker
  const module = join(folder, 'handler.mjs');
  await writeFile(module, stripTypeScriptTypes(await readFile(`${import.meta.dirname}/handler.ts`, 'utf8')));
  await mkdir(join(folder, 'compiled'));
  await copyFile(`${root}/dist/bundle/worker.body.js`, join(folder, 'worker.body.js'));
  await copyFile(`${root}/dist/bundle/worker.launch.js`, join(folder, 'worker.js'));
  await copyFile(`${root}/dist/bundle/worker.warm-up.js`, join(folder, 'warm-up.js'));
  const options = flags.slice(0, -1);
  const args = [...options, join(folder, 'worker.js')];
  const own = workerProgram(settingsOf(server, module, 100), WORKER, process.env).env;
  const env = { ...own, NODE_COMPILE_CACHE: join(folder, 'cache') };
  await promisify(execFile)(process.execPath, [...options, join(folder, 'warm-up.js')]);
  return stack.use(startChild({ args, env }));
}

async function until(what: string, child: Child, holds: () => Promise<boolean>): Promise<void> {
  const started = performance.now();
  while (!(await holds())) {
    await child.expectAlive();
    if (performance.now() - started > STUCK_TIMEOUT_MS)
      throw new Error(`not within ${STUCK_TIMEOUT_MS / 1_000} s: ${what}`);
    await delay(POLL_MS);
  }
}

function look({ pid }: Child): ProcessMemory {
  const found = memoryOf(pid);
  if (found === undefined)
    throw new Error('the memory of a process is read from /proc, which this system lacks');
  return found;
}

async function measureGrowth(server: BenchRedis, options: BenchOptions): Promise<Growth> {
  await using stack = new AsyncDisposableStack();
  const { redis } = server;
  const tasks = options.tasks ?? TASKS;
  const keys = queueKeys(NAMES.queue, NAMES.result);
  const child = await startBundle(server, stack);
  await until('the worker is registered', child, async () => (await redis.zcard(keys.workers)) === 1);
  await delay(IDLE_MS, undefined, { signal: options.signal });
  const idle = look(child);
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
  return { tasks, idle, last: look(child), grownMb: rounded(grownMb), courseMb };
}

interface Growth {
  readonly tasks: number;
  readonly idle: ProcessMemory;
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
  const module = `${import.meta.dirname}/handler-patient.ts`;
  await using child = startChild(workerProgram(settingsOf(server, module, IN_FLIGHT), WORKER, process.env));
  await until(
    'all are in flight',
    child,
    async () => (await redis.hlen(keys.inflight(WORKER))) === IN_FLIGHT,
  );
  const inFlight = await bytes(keys.inflight(WORKER));
  const each = (total: number): number => rounded(total / IN_FLIGHT, 3);
  return { taskBytes: each(taskBytes), waitingBytes: each(waiting), inFlightBytes: each(inFlight) };
}
