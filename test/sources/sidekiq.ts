/** Sidekiq, with its processes. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { RedisServer } from '../support/redis.ts';
import type { Library, LibraryCase, LibraryWorker } from './library.ts';

const run = promisify(execFile);
const QUEUE = 'mail';
const program = join(import.meta.dirname, 'ruby', 'sidekiq_jobs.rb');
/** Its own is 5 to 10 s. */
const BEAT_S = 1;

export interface SidekiqLibrary extends Library {
  /** Puts a job into another queue, to be run after a delay. */
  readonly pushElsewhere: (delayMs: number) => Promise<void>;
}

export const sidekiqCase = {
  name: 'Sidekiq',
  settings: { sidekiq: { queues: [QUEUE] } },
  keys: '*',
  open: (server: RedisServer) => Promise.resolve(openSidekiq(server)),
} satisfies LibraryCase;

function openSidekiq(server: RedisServer): SidekiqLibrary {
  const redis = server.client();
  const gate = server.client({ db: 1 });
  const env = { ...process.env, REDIS_URL: `redis://127.0.0.1:${server.port}/0` };
  const workers = new Set<ChildProcess>();

  const end = async (child: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
    if (!workers.delete(child) || child.exitCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  };

  return {
    push: async (tasks, delayMs) => {
      const delayed = delayMs === undefined ? [] : [String(delayMs)];
      await run('ruby', [program, 'push', QUEUE, String(tasks), ...delayed], { env });
    },
    pushElsewhere: async (delayMs) => {
      await run('ruby', [program, 'push', 'other', '1', String(delayMs)], { env });
    },
    work: async (place): Promise<LibraryWorker> => {
      const before = await redis.scard('processes');
      const child = spawn('ruby', [program, 'work', String(BEAT_S)], {
        // by which it names its host
        env: { ...env, DYNO: place },
        stdio: 'ignore',
      });
      workers.add(child);
      await eventually(async () => expect(await redis.scard('processes')).toBeGreaterThan(before), {
        withinMs: 20_000,
      });
      return { stop: () => end(child, 'SIGTERM'), kill: () => end(child, 'SIGKILL') };
    },
    release: async (tasks) => {
      for (let i = 0; i < tasks; i++) await gate.rpush('released', '1');
    },
    [Symbol.asyncDispose]: async () => {
      for (const child of workers) await end(child, 'SIGKILL');
    },
  };
}
