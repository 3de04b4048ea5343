/** SAQ, with its workers as processes of their own, each with its pod's name as its id. */
import type { LibraryCase } from './library.ts';
import { openPython } from './python-library.ts';

export const saqCase: LibraryCase = {
  name: 'SAQ 0.26.4',
  settings: { saq: { queues: ['mail'] } },
  keys: 'saq:*',
  open: (server, queue = 'mail') =>
    openPython('saq', server, (redis) => redis.zcard(`saq:${queue}:stats`), { QUEUE: queue }),
};
