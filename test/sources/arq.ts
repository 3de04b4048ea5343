/** arq, with its workers as processes of their own. */
import type { LibraryCase } from './library.ts';
import { openPython } from './python-library.ts';

export const arqCase: LibraryCase = {
  name: 'arq 0.28.0',
  settings: { arq: { queues: ['arq:queue'] } },
  keys: 'arq:*',
  // no key says how many workers there are: each counts itself when it starts
  open: (server) => {
    const started = server.client({ db: 1 });
    return openPython('arq', server, async () => Number(await started.get('started')));
  },
};
