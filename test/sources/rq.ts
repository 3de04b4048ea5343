/** RQ, with its workers as processes of their own. */
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { RedisServer } from '../support/redis.ts';
import type { LibraryCase } from './library.ts';
import { openPython, type PythonLibrary } from './python-library.ts';

const QUEUE = 'mail';

export const rqCase = {
  name: 'RQ 3.0.0',
  settings: { rq: { queues: [QUEUE] } },
  keys: 'rq:*',
  open: (server: RedisServer, queue?: string) => openRq(server, 'rq', queue),
} satisfies LibraryCase;

export async function openRq(server: RedisServer, prefix: string, queue = QUEUE): Promise<PythonLibrary> {
  const workers = (redis: Redis): Promise<number> => redis.scard(`${prefix}:workers:${queue}`);
  const library = await openPython('rq', server, workers, { RQ_KEY_PREFIX: prefix, QUEUE: queue });
  const states = async (): Promise<(string | null)[]> => {
    const redis = server.client();
    const names = await redis.smembers(`${prefix}:workers:${queue}`);
    return Promise.all(names.map((name) => redis.hget(name, 'state')));
  };
  return {
    ...library,
    work: async (place) => {
      const worker = await library.work(place);
      const stop = async (): Promise<void> => {
        // told to stop after a job and before it is idle again, RQ 3.0.0 first waits for another job, for 405 s at most
        await eventually(async () => expect(await states()).not.toContain('busy'));
        await worker.stop();
      };
      return { ...worker, stop };
    },
    pause: async (on) => {
      const redis = server.client();
      if (on) await redis.set(`${prefix}:suspended`, '1');
      else await redis.del(`${prefix}:suspended`);
    },
  };
}
