/** RQ, with its workers as processes of their own. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { preparePython } from '../support/python.ts';
import type { RedisServer } from '../support/redis.ts';
import type { Library, LibraryCase, LibraryWorker } from './library.ts';

const run = promisify(execFile);
const folder = join(import.meta.dirname, 'python');
const QUEUE = 'mail';

export const rqCase: LibraryCase = {
  name: 'RQ 3.0.0',
  settings: { rq: { queues: [QUEUE] } },
  keys: 'rq:*',
  open: async (server) => {
    const python = await preparePython(await readFile(join(folder, 'rq.txt'), 'utf8'));
    if (python instanceof Error) throw python;
    return openRq(python, server);
  },
};

function openRq(python: string, server: RedisServer): Library {
  const redis = server.client();
  const gate = server.client({ db: 1 });
  const env = { PATH: process.env['PATH'], REDIS_PORT: String(server.port), PYTHONPATH: folder };
  // under its own name, which the jobs carry to the workers
  const program = ['-c', 'import rq_tasks, sys; rq_tasks.main(sys.argv[1:])'];
  const workers = new Set<ChildProcess>();

  const end = async (child: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
    if (!workers.delete(child)) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  };

  return {
    push: async (tasks, delayMs) => {
      const delayed = delayMs === undefined ? [] : [String(delayMs)];
      await run(python, [...program, 'push', String(tasks), ...delayed], { env });
    },
    work: async (place): Promise<LibraryWorker> => {
      const before = await redis.scard(`rq:workers:${QUEUE}`);
      const child = spawn(python, [...program, 'work', place], { env, stdio: 'ignore' });
      workers.add(child);
      await eventually(async () => expect(await redis.scard(`rq:workers:${QUEUE}`)).toBeGreaterThan(before), {
        withinMs: 20_000,
      });
      return { stop: () => end(child, 'SIGTERM'), kill: () => end(child, 'SIGKILL') };
    },
    release: async (tasks) => {
      for (let i = 0; i < tasks; i++) await gate.rpush('released', '1');
    },
    pause: async (on) => {
      if (on) await redis.set('rq:suspended', '1');
      else await redis.del('rq:suspended');
    },
    [Symbol.asyncDispose]: async () => {
      for (const child of workers) await end(child, 'SIGKILL');
    },
  };
}
