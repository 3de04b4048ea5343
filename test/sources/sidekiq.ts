/** Sidekiq, with its processes. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { RedisServer } from '../support/redis.ts';
import type { Library, LibraryCase, LibraryWorker } from './library.ts';
import { releaseOn, workerProcesses } from './processes.ts';

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
  open: (server: RedisServer, queue?: string) => Promise.resolve(openSidekiq(server, queue)),
} satisfies LibraryCase;

function openSidekiq(server: RedisServer, queue = QUEUE): SidekiqLibrary {
  const redis = server.client();
  const env = { ...process.env, REDIS_URL: `redis://127.0.0.1:${server.port}/0`, QUEUE: queue };
  const processes = workerProcesses();

  return {
    push: async (tasks, delayMs) => {
      const delayed = delayMs === undefined ? [] : [String(delayMs)];
      await run('ruby', [program, 'push', queue, String(tasks), ...delayed], { env });
    },
    pushElsewhere: async (delayMs) => {
      await run('ruby', [program, 'push', 'other', '1', String(delayMs)], { env });
    },
    work: async (place): Promise<LibraryWorker> => {
      const before = await redis.scard('processes');
      const worker = processes.start('ruby', [program, 'work', String(BEAT_S)], {
        // by which it names its host
        env: { ...env, DYNO: place },
      });
      await eventually(async () => expect(await redis.scard('processes')).toBeGreaterThan(before));
      return worker;
    },
    release: releaseOn(server),
    [Symbol.asyncDispose]: () => processes[Symbol.asyncDispose](),
  };
}
