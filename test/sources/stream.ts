/** A stream that a consumer group reads, with plain workers whose consumers have the names of their places. */
import type { RedisServer } from '../support/redis.ts';
import type { Library, LibraryCase } from './library.ts';
import { RELEASED, releaseOn } from './processes.ts';

const KEY = 'jobs';
const GROUP = 'workers';

export const streamCase: LibraryCase = {
  name: 'a stream',
  settings: { stream: { keys: [KEY], group: GROUP } },
  keys: 'jobs*',
  noDelays: true,
  open: (server, key) => Promise.resolve(openStream(server, key)),
};

function openStream(server: RedisServer, key = KEY): Library {
  const redis = server.client();
  const create = (): Promise<unknown> =>
    redis.xgroup('CREATE', key, GROUP, '0', 'MKSTREAM').catch(() => undefined); // it is there
  return {
    push: async (tasks) => {
      await create();
      for (let i = 0; i < tasks; i++) await redis.xadd(key, '*', 'task', 'x'.repeat(20));
    },
    work: async (place) => {
      await create();
      const [taking, gate] = [server.client(), server.client({ db: 1 })];
      let stopping = false;
      const running = (async () => {
        while (!stopping) {
          const read = taking.xreadgroup(
            'GROUP',
            GROUP,
            place,
            'COUNT',
            1,
            'BLOCK',
            100,
            'STREAMS',
            key,
            '>',
          );
          const [[, [[id]]]] = ((await read) ?? [[key, [[undefined]]]]) as [[string, [[string | undefined]]]];
          if (id === undefined) continue;
          await gate.blpop(RELEASED, 0);
          await redis.xack(key, GROUP, id);
        }
      })().catch(() => undefined); // its connection was cut
      return {
        stop: async () => {
          stopping = true;
          await running;
        },
        kill: async () => {
          stopping = true;
          for (const connection of [taking, gate]) connection.disconnect();
          await running;
        },
      };
    },
    release: releaseOn(server),
    [Symbol.asyncDispose]: async () => {},
  };
}
