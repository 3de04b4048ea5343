/** Dramatiq, with its workers as processes of their own. */
import type { RedisServer } from '../support/redis.ts';
import type { Library, LibraryCase } from './library.ts';
import { openPython } from './python-library.ts';

export function openDramatiq(server: RedisServer, namespace: string, queue = 'mail'): Promise<Library> {
  // its record of workers names clients too: each worker counts itself when it has started
  const started = server.client({ db: 1 });
  const count = async (): Promise<number> => Number(await started.get('started'));
  return openPython('dramatiq', server, count, { NAMESPACE: namespace, QUEUE: queue });
}

export const dramatiqCase: LibraryCase = {
  name: 'Dramatiq 2.2.1',
  settings: { dramatiq: { queues: ['mail'] } },
  keys: 'dramatiq:*',
  open: (server, queue) => openDramatiq(server, 'dramatiq', queue),
};
