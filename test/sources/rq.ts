/** RQ, with its workers as processes of their own. */
import type { LibraryCase } from './library.ts';
import { openPython } from './python-library.ts';

const QUEUE = 'mail';

export const rqCase: LibraryCase = {
  name: 'RQ 3.0.0',
  settings: { rq: { queues: [QUEUE] } },
  keys: 'rq:*',
  open: async (server) => {
    const library = await openPython('rq', server, (redis) => redis.scard(`rq:workers:${QUEUE}`));
    return {
      ...library,
      pause: async (on) => {
        const redis = server.client();
        if (on) await redis.set('rq:suspended', '1');
        else await redis.del('rq:suspended');
      },
    };
  },
};
