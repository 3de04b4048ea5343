/** Plain workers of a format of one's own: a list of tasks, a hash of what runs, a sorted set of what is due later. */
import type { RedisServer } from '../support/redis.ts';
import type { Library, LibraryCase } from './library.ts';
import { RELEASED, releaseOn } from './processes.ts';

const WAITING = 'jobs';
const RUNNING = 'jobs:running';
const LATER = 'jobs:later';

export const listCase: LibraryCase = {
  name: 'a list',
  settings: { list: { keys: [WAITING], longestTask: '1s' } },
  keys: 'jobs*',
  hidesRunning: true,
  noDelays: true,
  open: (server) => Promise.resolve(openPlain(server)),
};

export const customCase: LibraryCase = {
  name: 'a format of its own',
  keys: 'jobs*',
  settings: {
    custom: {
      waiting: [{ command: 'LLEN', key: WAITING }],
      inHand: [{ command: 'HLEN', key: RUNNING }],
      delayed: [{ key: LATER, unit: 's', scale: 1 }],
      finished: { command: 'GET', key: 'jobs:done' },
    },
  },
  open: (server) => Promise.resolve(openPlain(server)),
};

function openPlain(server: RedisServer): Library {
  const redis = server.client();
  let tasks = 0;
  return {
    push: async (count, delayMs) => {
      for (let i = 0; i < count; i++) {
        if (delayMs === undefined) await redis.lpush(WAITING, `task ${++tasks}`);
        else await redis.zadd(LATER, (Date.now() + delayMs) / 1e3, `task ${++tasks}`);
      }
    },
    work: (place) => {
      const [taking, gate] = [server.client(), server.client({ db: 1 })];
      let stopping = false;
      const running = (async () => {
        while (!stopping) {
          const taken = await taking.brpop(WAITING, 0.1);
          if (!taken) continue;
          await redis.hset(RUNNING, place, taken[1]);
          await gate.blpop(RELEASED, 0);
          await redis.multi().hdel(RUNNING, place).incr('jobs:done').exec();
        }
      })().catch(() => undefined); // its connection was cut
      return Promise.resolve({
        stop: async () => {
          stopping = true;
          await running;
        },
        kill: async () => {
          stopping = true;
          for (const connection of [taking, gate]) connection.disconnect();
          await running;
        },
      });
    },
    release: releaseOn(server),
    [Symbol.asyncDispose]: async () => {},
  };
}
