/**
 * What a worker costs until its first task: processor time from the start of its process until the handler is called, beside a
 * Node that runs nothing, in turns; and the memory of workers that have had no task yet.
 */
import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { WorkerSettings } from '../../cli/dev/worker-program.ts';
import { queueKeys } from '../../queue/keys.ts';
import { memoryOf, startChild, type Child, type ProcessMemory } from './child.ts';
import type { BenchRedis } from './redis.ts';
import type { BenchOptions } from '../report/report.ts';
import { idOf, taskOf } from './tasks.ts';
import type { WorkerBundle } from './worker-bundle.ts';

const STARTS = 7;
const IDLE_MS = 5_000;
const POLL_MS = 10;
const STUCK_TIMEOUT_MS = 60_000;

export interface Starts {
  /** Processor time until the first task, ms. */
  readonly workerMs: number[];
  /** Processor time of Node, with the same flags, until it evaluates an expression, ms. */
  readonly nodeMs: number[];
  /** Of workers that are registered and have had no task. */
  readonly idle: ProcessMemory[];
}

export async function measureStarts(
  server: BenchRedis,
  bundle: WorkerBundle,
  { rounds = STARTS, progress, signal }: BenchOptions,
): Promise<Starts> {
  await using idlers = new AsyncDisposableStack();
  const [workerMs, nodeMs, started]: [number[], number[], Child[]] = [[], [], []];
  // the first one's handler is compiled by nobody before: it is not counted
  await untilFirstTask(server, bundle, 'start-0');
  for (let i = 1; i <= rounds; i++) {
    signal.throwIfAborted();
    workerMs.push(await untilFirstTask(server, bundle, `start-${i}`));
    nodeMs.push(await nodeAlone(bundle));
    started.push(await startIdle(server, bundle, `idle-${i}`, idlers));
  }
  progress(`${rounds} workers have started, and idle`);
  await delay(IDLE_MS, undefined, { signal });
  return { workerMs, nodeMs, idle: started.map(look) };
}

const settingsOf = ({ url }: BenchRedis, queue: string): WorkerSettings => ({
  redis: { url },
  queue,
  result: `${queue}:result`,
  concurrency: 1,
  graceMs: 1_000,
  retry: { attempts: 1, backoff: { initialMs: 1_000, maxMs: 60_000, jitter: true } },
});

/** Its task is there before it. */
async function untilFirstTask(server: BenchRedis, bundle: WorkerBundle, queue: string): Promise<number> {
  const settings = settingsOf(server, queue);
  await server.redis.lpush(queue, taskOf(0));
  await using child = startChild(await bundle.program(settings, queue, 'handler-start.ts'));
  const ms = await eventually(child, () => server.redis.hget(settings.result, idOf(0)));
  return Number(ms);
}

async function startIdle(
  server: BenchRedis,
  bundle: WorkerBundle,
  queue: string,
  idlers: AsyncDisposableStack,
): Promise<Child> {
  const settings = settingsOf(server, queue);
  const { workers } = queueKeys(queue, settings.result);
  const child = idlers.use(startChild(await bundle.program(settings, queue, 'handler-start.ts')));
  await eventually(child, () => server.redis.zscore(workers, queue));
  return child;
}

async function eventually(child: Child, read: () => Promise<string | null>): Promise<string> {
  const began = performance.now();
  for (;;) {
    const found = await read();
    if (found !== null) return found;
    await child.expectAlive();
    if (performance.now() - began > STUCK_TIMEOUT_MS)
      throw new Error(`a worker does not start within ${STUCK_TIMEOUT_MS / 1_000} s`);
    await delay(POLL_MS);
  }
}

async function nodeAlone({ flags }: WorkerBundle): Promise<number> {
  const expression = '(({ user, system }) => (user + system) / 1000)(process.cpuUsage())';
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, '-p', expression]);
  return Number(stdout);
}

export function look({ pid }: Child): ProcessMemory {
  const found = memoryOf(pid);
  if (found === undefined)
    throw new Error('the memory of a process is read from /proc, which this system lacks');
  return found;
}
