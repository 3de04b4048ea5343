/** A Python queue library, with its workers as processes of their own: `python/NAME_tasks.py` with the packages of `python/NAME.txt`. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { preparePython } from '../support/python.ts';
import type { RedisServer } from '../support/redis.ts';
import type { Library, LibraryWorker } from './library.ts';
import { releaseOn, workerProcesses } from './processes.ts';

const run = promisify(execFile);
const folder = join(import.meta.dirname, 'python');

/** An interpreter with the packages of `python/NAME.txt`, or an error with what is missing. */
export async function preparePackages(name: string): Promise<string | Error> {
  return preparePython(await readFile(join(folder, `${name}.txt`), 'utf8'));
}

export interface PythonLibrary extends Library {
  /** Runs its program to the end, by the arguments of `main`. */
  readonly run: (...args: readonly string[]) => Promise<void>;
  /** Starts another of its programs, by the arguments of `main`. */
  readonly start: (...args: readonly string[]) => LibraryWorker;
}

/** `workers`: a number that grows when one more worker takes tasks. `more`: further variables of the environment. */
export async function openPython(
  name: string,
  server: RedisServer,
  workers: (redis: Redis) => Promise<number>,
  more: Readonly<Record<string, string>> = {},
): Promise<PythonLibrary> {
  const python = await preparePackages(name);
  if (python instanceof Error) throw python;
  const redis = server.client();
  const env = {
    PATH: process.env['PATH'],
    REDIS_PORT: String(server.port),
    PYTHONPATH: folder,
    PYTHONDONTWRITEBYTECODE: '1',
    ...more,
  };
  // under its own name, which the tasks carry to the workers
  const program = ['-c', `import ${name}_tasks, sys; ${name}_tasks.main(sys.argv[1:])`];
  const processes = workerProcesses();
  // with the processes that it has started, as a pod is killed
  const start = (...args: readonly string[]): LibraryWorker =>
    processes.start(python, [...program, ...args], { env, detached: true });

  const runProgram = async (...args: readonly string[]): Promise<void> => {
    await run(python, [...program, ...args], { env });
  };

  return {
    start,
    run: runProgram,
    push: (tasks, delayMs) =>
      runProgram('push', String(tasks), ...(delayMs === undefined ? [] : [String(delayMs)])),
    work: async (place) => {
      const before = await workers(redis);
      const worker = start('work', place);
      await eventually(async () => expect(await workers(redis)).toBeGreaterThan(before));
      return worker;
    },
    release: releaseOn(server),
    [Symbol.asyncDispose]: () => processes[Symbol.asyncDispose](),
  };
}
