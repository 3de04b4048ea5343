/** RQ, with its workers as processes of their own. */
import type { Redis } from 'ioredis';
import type { RedisServer } from '../support/redis.ts';
import type { LibraryCase } from './library.ts';
import { openPython, type PythonLibrary } from './python-library.ts';

const QUEUE = 'mail';

export const rqCase = {
  name: 'RQ 3.0.0',
  settings: { rq: { queues: [QUEUE] } },
  keys: 'rq:*',
  open: (server: RedisServer) => openRq(server, 'rq'),
} satisfies LibraryCase;

export async function openRq(server: RedisServer, prefix: string): Promise<PythonLibrary> {
  const workers = (redis: Redis): Promise<number> => redis.scard(`${prefix}:workers:${QUEUE}`);
  const library = await openPython('rq', server, workers, { RQ_KEY_PREFIX: prefix });
  return {
    ...library,
    pause: async (on) => {
      const redis = server.client();
      if (on) await redis.set(`${prefix}:suspended`, '1');
      else await redis.del(`${prefix}:suspended`);
    },
  };
}
