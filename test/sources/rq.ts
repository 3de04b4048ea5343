/** RQ, with its workers as processes of their own. */
import type { Redis } from 'ioredis';
import type { RedisServer } from '../support/redis.ts';
import type { Library, LibraryCase } from './library.ts';
import { openPython } from './python-library.ts';

const QUEUE = 'mail';

export const rqCase: LibraryCase = {
  name: 'RQ 3.0.0',
  settings: { rq: { queues: [QUEUE] } },
  keys: 'rq:*',
  open: (server) => openRq(server, 'rq'),
};

export async function openRq(server: RedisServer, prefix: string): Promise<Library> {
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
