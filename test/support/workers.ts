/** Workers for tests: in this process (`startWorker`), and as users run them, in one of their own (`spawnWorker`). */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import { createLog } from '../../runtime/log.ts';
import { MAX_RESULT_BYTES } from '../../worker/task/encode.ts';
import { createWorkerMetrics } from '../../worker/process/metrics.ts';
import { runWorker } from '../../worker/worker.ts';
import type { WorkerOptions } from '../../worker/epoch/options.ts';
import { eventually, WITHIN_MS } from './eventually.ts';
import { programEnv } from './program-env.ts';
import type { RedisServer } from './redis.ts';

export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly event?: LogEvent;
  readonly [field: string]: unknown;
}

/** A failed task is retried immediately, so that no test waits for a backoff. */
export const promptly = { attempts: 3, backoff: { initialMs: 1, maxMs: 1, jitter: false } };

export interface TestWorker extends AsyncDisposable {
  readonly id: string;
  readonly log: readonly LogLine[];
  /** Resolves when it is registered, immediately if it already is. */
  ready(): Promise<void>;
  /** How often it registered. */
  readonly epochs: number;
  /** Resolves when it has left; rejects with what ended it. */
  readonly ended: Promise<void>;
  /** As SIGTERM does. Resolves when the worker has left. */
  stop(): Promise<void>;
  /** As the end of the grace period does. Resolves when the worker has left. */
  hurry(): Promise<void>;
}

/** A worker in this process; disposing stops it in a hurry and waits for its end. */
export function startWorker(
  { address }: Pick<RedisServer, 'address'>,
  keys: QueueKeys,
  options: Partial<WorkerOptions> & Pick<WorkerOptions, 'handler'>,
): TestWorker {
  const { queue, result } = keys;
  const id = options.id ?? `worker-${randomUUID().slice(0, 8)}`;
  const log: LogLine[] = [];
  const sink = { write: (line: string) => void log.push(JSON.parse(line) as LogLine) };
  const stopping = new AbortController();
  const hurry = new AbortController();
  let epochs = 0;
  const ended = runWorker(
    {
      redis: address,
      queue,
      result,
      concurrency: 1,
      leaseMs: 15e3,
      mayBlock: false,
      retry: promptly,
      results: { ttlMs: undefined, maxBytes: MAX_RESULT_BYTES },
      deadLetters: { max: 10_000, maxAgeMs: undefined },
      version: 'test',
      pool: '',
      log: createLog('test', 'info', sink),
      metrics: createWorkerMetrics(),
      ...options,
      id,
      onReady: () => epochs++,
    },
    stopping.signal,
    hurry.signal,
  );
  // awaited when it is stopped
  ended.catch(() => undefined);
  return {
    id,
    log,
    ended,
    get epochs() {
      return epochs;
    },
    ready: () =>
      eventually(() => {
        if (epochs === 0) throw new Error(`${id} did not register: ${JSON.stringify(log)}`);
      }),
    stop: () => {
      stopping.abort();
      return ended;
    },
    hurry: () => {
      stopping.abort();
      hurry.abort();
      return ended;
    },
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      hurry.abort();
      await ended;
    },
  };
}

/** Resolves to the result hash once it has that many fields. */
export function resultsOf(
  redis: Redis,
  key: string,
  count: number,
  withinMs = WITHIN_MS,
): Promise<Record<string, string>> {
  return eventually(
    async () => {
      const all = await redis.hgetall(key);
      if (Object.keys(all).length < count) throw new Error(`${Object.keys(all).length} of ${count} results`);
      return all;
    },
    { withinMs },
  );
}

export interface WorkerProcess extends AsyncDisposable {
  readonly id: string;
  readonly pid: number;
  readonly log: readonly LogLine[];
  /** All that it wrote to stderr. */
  stderr(): string;
  /** Resolves when it has written a line of this event to its log, so often. */
  reports(event: LogEvent, times?: number): Promise<LogLine>;
  signal(name: NodeJS.Signals): void;
  /** Resolves to exit code or signal once it is gone. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

const MAIN = join(import.meta.dirname, '../../worker/main.ts');
export const TASKS = join(import.meta.dirname, '../fixtures/tasks.ts');

/** `millrace-worker` with these flags, and no others; disposing kills it. */
export function spawnProgram(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  [file = '', ...before]: readonly string[] = [process.execPath],
): WorkerProcess {
  const child = spawn(file, [...before, MAIN, ...args], {
    env: { ...programEnv, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let written = '';
  const log: LogLine[] = [];
  let partial = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    written += text;
    const lines = (partial + text).split('\n');
    partial = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('{')) log.push(JSON.parse(line) as LogLine);
  });
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  const reports = (event: LogEvent, times = 1): Promise<LogLine> =>
    eventually(() => {
      const found = log.filter((line) => line.event === event)[times - 1];
      if (found) return found;
      throw new Error(`the worker did not report ${event} (${times}×) but:\n${written}`);
    });
  return {
    id: '',
    pid: child.pid ?? 0,
    log,
    ended,
    stderr: () => written,
    reports,
    signal: (name) => void child.kill(name),
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await ended;
    },
  };
}

/** A worker that runs test/fixtures/tasks.ts. Resolves when it takes tasks. */
export async function spawnWorker(
  server: RedisServer,
  keys: QueueKeys,
  args: readonly string[] = [],
  id = `process-${randomUUID().slice(0, 8)}`,
): Promise<WorkerProcess> {
  const where = ['--redis', server.url, '--queue', keys.queue, '--result', keys.result, '--id', id];
  const child = spawnProgram([...where, '--module', TASKS, ...args]);
  try {
    await child.reports(LogEvent.Registered);
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
  return { ...child, id };
}
