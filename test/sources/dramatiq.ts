/** Dramatiq, with its workers as processes of their own. */
import type { LibraryCase } from './library.ts';
import { openPython } from './python-library.ts';

export const dramatiqCase: LibraryCase = {
  name: 'Dramatiq 2.2.1',
  settings: { dramatiq: { queues: ['mail'] } },
  keys: 'dramatiq:*',
  // its record of workers names clients too: each worker counts itself when it has started
  open: (server) => {
    const started = server.client({ db: 1 });
    return openPython('dramatiq', server, async () => Number(await started.get('started')));
  },
};
