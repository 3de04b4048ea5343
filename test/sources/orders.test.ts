/**
 * Workers that take orders, in a scale-in: real loops on a real Redis with a format of their own, as no library could be simpler.
 * They say in a hash what they hold and whether they are quiet, and look for their orders in a set before each task.
 */
import type { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { resumeIn, sourceDrains } from '../../controller/act/source-drains.ts';
import type { Drains } from '../../controller/act/scale-in.ts';
import type { Member } from '../../controller/act/target.ts';
import type { DrainOrder } from '../../queue/workers/drain.ts';
import { count, question } from '../../queue/sources/question.ts';
import type { Source, SourceWorker } from '../../queue/sources/source.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';

const ids = (workers: readonly SourceWorker[]): string[] => workers.map(({ id }) => id);

const source: Source = {
  kind: 'ordered',
  read: async (ask) => {
    const { now, answers } = await ask({ waiting: count('LLEN', 'tasks') });
    return [{ now, waiting: answers.waiting, inHand: 0, delayed: 0, due: 0, dueSoon: 0 }];
  },
  holding: {
    by: 'worker',
    lagMs: 0,
    readWorkers: async (ask) => {
      const all = question('HMGET', 'workers', ['pod-1', 'pod-2', 'pod-3'], (reply) =>
        (reply as (Buffer | null)[]).map((state) => state?.toString()),
      );
      const { answers } = await ask({ all });
      const workers = answers.all.flatMap((state, i): SourceWorker[] => {
        const id = `pod-${i + 1}`;
        const [tasks, quiet] = state?.split(' ') ?? [];
        return state === undefined
          ? []
          : [{ id, hosts: [id], tasks: Number(tasks), quiet: quiet === 'quiet' }];
      });
      return { workers, unnamed: 0 };
    },
    orders: {
      drain: async (redis, workers) => void (await redis.sadd('quiet', ...ids(workers))),
      resume: async (redis, workers) => void (await redis.srem('quiet', ...ids(workers))),
    },
  },
};

/** A loop that runs a task until it is released. */
function work(server: RedisServer, id: string): AsyncDisposable {
  const [redis, gate] = [server.client(), server.client({ db: 1 })];
  let stopping = false;
  const report = (tasks: number, quiet: boolean): Promise<number> =>
    redis.hset('workers', id, `${tasks} ${quiet ? 'quiet' : 'open'}`);
  const running = (async () => {
    while (!stopping) {
      const quiet = (await redis.sismember('quiet', id)) === 1;
      await report(0, quiet);
      const task = quiet ? null : await redis.rpop('tasks');
      if (task === null) {
        await gate.blpop('nothing', 0.02);
        continue;
      }
      await report(1, false);
      await gate.blpop(`release:${task}`, 0);
    }
  })();
  return {
    [Symbol.asyncDispose]: async () => {
      stopping = true;
      await running;
    },
  };
}

const member = (id: string): Member => ({ id, ready: true, created: 0, going: false });

const pods = ['pod-1', 'pod-2', 'pod-3'].map(member);
const drainsOn = (redis: Redis): Drains =>
  sourceDrains({
    redis,
    source,
    idleSince: undefined,
    tracked: true,
    unmanaged: 'WhenIdle',
    state: { idle: new Map() },
  });

/** All orders at once, as a pass of a scale-in gives them. */
async function order(redis: Redis, leaving: readonly string[], drains = drainsOn(redis)): Promise<string[]> {
  await drains.read(
    pods.map(({ id }) => id),
    pods,
  );
  const verdict = (id: string): DrainOrder => (leaving.includes(id) ? 'leave' : 'stay');
  const loads = await drains.set(new Map(pods.map(({ id }) => [id, verdict(id)])));
  return [...loads].filter(([, load]) => load.state === 'drained').map(([id]) => id);
}

test('a user who may not give orders takes no pod, and the reason is there', async () => {
  await using server = await startRedis();
  const admin = server.client();
  await admin.hset('workers', 'pod-1', '0 open', 'pod-2', '0 open', 'pod-3', '0 open');
  await admin.call('ACL', 'SETUSER', 'reader', 'on', '>secret', '~*', '&*', '+@all', '-sadd');
  const redis = server.client({ username: 'reader', password: 'secret' });
  const drains = drainsOn(redis);
  expect(await order(redis, ['pod-2'], drains)).toEqual([]);
  expect(drains.held?.()?.message).toMatch(
    /^workers cannot be told to take nothing more, because Redis refuses/,
  );
  // once it may, the order goes out
  await admin.call('ACL', 'SETUSER', 'reader', '+sadd');
  expect(await order(redis, ['pod-2'], drains)).toEqual([]);
  expect(await admin.smembers('quiet')).toEqual(['pod-2']);
  expect(drains.held?.()).toBeUndefined();
});

test('a worker goes only when it has confirmed that it takes nothing more, and goes on when it is called back', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const gate = server.client({ db: 1 });
  await redis.lpush('tasks', 'a');
  await using _one = work(server, 'pod-1');
  await eventually(async () => expect(await redis.hget('workers', 'pod-1')).toBe('1 open'));
  await using _two = work(server, 'pod-2');
  await using _three = work(server, 'pod-3');
  await eventually(async () => expect(await redis.hlen('workers')).toBe(3));

  // idle, and yet it might take a task until it has said that it will not
  expect(await order(redis, ['pod-2'])).toEqual([]);
  expect(await redis.smembers('quiet')).toEqual(['pod-2']);
  await eventually(async () => expect(await order(redis, ['pod-2'])).toEqual(['pod-2']));
  // one that works finishes first
  await order(redis, ['pod-1', 'pod-2']);
  expect(await order(redis, ['pod-1', 'pod-2'])).toEqual(['pod-2']);
  await gate.rpush('release:a', '1');
  await eventually(async () => expect(await order(redis, ['pod-1', 'pod-2'])).toEqual(['pod-1', 'pod-2']));

  await eventually(async () => {
    await order(redis, []);
    expect(await redis.smembers('quiet')).toEqual([]);
  });
  await redis.lpush('tasks', 'b', 'c', 'd');
  await eventually(async () =>
    expect((await redis.hvals('workers')).toSorted()).toEqual(['1 open', '1 open', '1 open']),
  );
  await gate.rpush('release:b', '1');
  await gate.rpush('release:c', '1');
  await gate.rpush('release:d', '1');
});

test('a pool that goes calls back the workers in its pods, and nobody else’s', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await redis.sadd('quiet', 'pod-1', 'pod-2');
  await redis.hset('workers', 'pod-1', '0 quiet', 'pod-2', '1 quiet', 'pod-3', '0 open');
  await resumeIn(redis, source, ['pod-2', 'pod-3'].map(member));
  expect(await redis.smembers('quiet')).toEqual(['pod-1']);
});
