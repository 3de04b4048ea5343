/** A Python queue library, with its workers as processes of their own: `python/NAME_tasks.py` with the packages of `python/NAME.txt`. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { preparePython } from '../support/python.ts';
import type { RedisServer } from '../support/redis.ts';
import type { Library } from './library.ts';

const run = promisify(execFile);
const folder = join(import.meta.dirname, 'python');

/** `workers`: a number that grows when one more worker takes tasks. */
export async function openPython(
  name: string,
  server: RedisServer,
  workers: (redis: Redis) => Promise<number>,
): Promise<Library> {
  const python = await preparePython(await readFile(join(folder, `${name}.txt`), 'utf8'));
  if (python instanceof Error) throw python;
  const redis = server.client();
  const gate = server.client({ db: 1 });
  const env = {
    PATH: process.env['PATH'],
    REDIS_PORT: String(server.port),
    PYTHONPATH: folder,
    PYTHONDONTWRITEBYTECODE: '1',
  };
  // under its own name, which the tasks carry to the workers
  const program = ['-c', `import ${name}_tasks, sys; ${name}_tasks.main(sys.argv[1:])`];
  const running = new Set<ChildProcess>();

  const end = async (child: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
    if (!running.delete(child)) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  };

  return {
    push: async (tasks, delayMs) => {
      const delayed = delayMs === undefined ? [] : [String(delayMs)];
      await run(python, [...program, 'push', String(tasks), ...delayed], { env });
    },
    work: async (place) => {
      const before = await workers(redis);
      const child = spawn(python, [...program, 'work', place], { env, stdio: 'ignore' });
      running.add(child);
      await eventually(async () => expect(await workers(redis)).toBeGreaterThan(before), {
        withinMs: 20_000,
      });
      return { stop: () => end(child, 'SIGTERM'), kill: () => end(child, 'SIGKILL') };
    },
    release: async (tasks) => {
      for (let i = 0; i < tasks; i++) await gate.rpush('released', '1');
    },
    [Symbol.asyncDispose]: async () => {
      for (const child of running) await end(child, 'SIGKILL');
    },
  };
}
