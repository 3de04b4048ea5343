/** taskiq, with each of its brokers, and its workers as processes of their own. */
import type { RedisServer } from '../support/redis.ts';
import type { Library, LibraryCase } from './library.ts';
import { openPython, type PythonLibrary } from './python-library.ts';

export interface TaskiqCase extends LibraryCase {
  readonly open: (server: RedisServer, queue?: string) => Promise<PythonLibrary>;
}

const caseOf =
  (broker: 'list' | 'stream'): TaskiqCase['open'] =>
  (server, queue = 'mail') => {
    // who listens to a list is in no key: each worker counts itself when it has started
    const started = server.client({ db: 1 });
    return openPython('taskiq', server, async () => Number(await started.get('started')), {
      BROKER: broker,
      QUEUE: queue,
    });
  };

export const taskiqListCase: TaskiqCase = {
  name: 'taskiq 0.13.0 with ListQueueBroker',
  settings: { taskiq: { queues: ['mail'], longestTask: '1s' } },
  keys: 'mail*',
  hidesRunning: true,
  noDelays: true,
  open: caseOf('list'),
};

export const taskiqStreamCase: TaskiqCase = {
  name: 'taskiq 0.13.0 with RedisStreamBroker',
  settings: { taskiq: { queues: ['mail'], group: 'taskiq' } },
  keys: 'mail*',
  noDelays: true,
  open: async (server, queue) => {
    const library = await caseOf('stream')(server, queue);
    // an idle worker of this broker does not end on SIGTERM, and waits for the grace period of its pod
    const work: Library['work'] = async (place) => {
      const { kill } = await library.work(place);
      return { stop: kill, kill };
    };
    return { ...library, work };
  },
};
