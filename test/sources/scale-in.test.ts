/** Who may go in a scale-in of other libraries' workers: the judgement behind `sourceDrains`, on real keys. */
import type { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { sourceDrains, type SourceState } from '../../controller/act/source-drains.ts';
import type { Drains } from '../../controller/act/scale-in.ts';
import type { Member } from '../../controller/act/target.ts';
import { Unmanaged } from '../../kube/workerpool.ts';
import { sourceOf, type SourceSettings } from '../../queue/sources/sources.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { bullMqCases } from './bullmq.ts';
import { customCase } from './plain.ts';

const pods = ['pod-1', 'pod-2'].map((id): Member => ({ id, ready: true, created: 0, going: false }));

interface Judging {
  readonly settings: SourceSettings;
  readonly unmanaged?: Unmanaged;
  readonly idleSince?: number;
  readonly tracked?: boolean;
  readonly state?: SourceState;
  readonly redis?: Redis;
}

/** Which pods may go, and why others are held. */
async function judge(
  server: RedisServer,
  {
    settings,
    unmanaged = 'WhenIdle',
    idleSince,
    tracked = true,
    state = { idle: new Map() },
    redis = server.client(),
  }: Judging,
): Promise<{ gone: string[]; why: string | undefined }> {
  const source = sourceOf(settings);
  const drains: Drains = sourceDrains({ redis, source, idleSince, tracked, unmanaged, state });
  const loads = await drains.read(
    pods.map(({ id }) => id),
    pods,
  );
  const gone = [...loads].filter(([, { state: is, inFlight }]) => is === 'drained' && inFlight === 0);
  return { gone: gone.map(([id]) => id), why: drains.held?.()?.message };
}

const ago = (ms: number): number => performance.now() - ms;

test.for(bullMqCases)(
  '$name: the pod with the idle worker goes, and no other',
  async ({ settings, ...one }) => {
    await using server = await startRedis();
    await using library = await one.open(server);
    await library.work('pod-1');
    await library.push(1);
    await eventually(async () =>
      expect(await judge(server, { settings })).toEqual({
        gone: [],
        why: 'pod-2 is ready, and no worker that the library shows runs there: held, because it may hold a task that nothing shows',
      }),
    );
    await library.work('pod-2');
    await eventually(async () =>
      expect(await judge(server, { settings })).toEqual({ gone: ['pod-2'], why: undefined }),
    );
    await library.release(1);
    await eventually(async () =>
      expect(await judge(server, { settings })).toEqual({ gone: ['pod-1', 'pod-2'], why: undefined }),
    );
  },
);

test('where the server does not show its connections, none goes, with the reason', async () => {
  await using server = await startRedis();
  const [{ settings, ...one } = customCase] = bullMqCases;
  await using library = await one.open(server);
  await library.work('pod-1');
  const admin = server.client();
  await admin.call('ACL', 'SETUSER', 'blind', 'on', '>secret', '~*', '+@all', '-client|list');
  const redis = server.client({ username: 'blind', password: 'secret' });
  expect(await judge(server, { settings, redis })).toEqual({
    gone: [],
    why: 'who holds tasks cannot be read, because Redis refuses a command to this user: see "The Redis user" in docs/sources.md',
  });
});

test('where a record of who holds a task is a key of another type, none goes, and the key is named', async () => {
  await using server = await startRedis();
  const [{ settings, ...one } = customCase] = bullMqCases;
  await using library = await one.open(server);
  await library.work('pod-1');
  await library.work('pod-2');
  await library.push(1);
  const redis = server.client();
  await eventually(async () => expect(await redis.llen('bull:mail:active')).toBe(1));
  expect((await judge(server, { settings })).gone).toHaveLength(1);
  await redis.set('bull:mail:1', 'something else');
  expect(await judge(server, { settings })).toEqual({
    gone: [],
    why: 'who holds tasks cannot be read: the key "bull:mail:1" is not a hash (HGET reads it): nothing was touched; use another key, or remove that one',
  });
});

test.for([
  ['longer than is read', 'x'.repeat(2_000)],
  ['no text', Buffer.from([0x6d, 0xff, 0xfe])],
] as const)('a job whose id is %s may be held by any worker', async ([, id]) => {
  await using server = await startRedis();
  const [{ settings, ...one } = customCase] = bullMqCases;
  await using library = await one.open(server);
  await library.work('pod-1');
  await library.work('pod-2');
  await eventually(async () => expect((await judge(server, { settings })).gone).toHaveLength(2));
  await server.client().lpush('bull:mail:active', id);
  expect(await judge(server, { settings })).toMatchObject({
    gone: [],
    why: expect.stringMatching(/^a running task names no worker that is known: held/) as string,
  });
});

test('a job without its lock is held as long as its worker is connected, and by nobody after that', async () => {
  await using server = await startRedis();
  const [{ settings, ...one } = customCase] = bullMqCases;
  await using library = await one.open(server);
  const busy = await library.work('pod-1');
  await library.work('pod-2');
  await library.push(1);
  const redis = server.client();
  await eventually(async () => expect(await redis.llen('bull:mail:active')).toBe(1));
  const holder = await redis.hget('bull:mail:1', 'pb');
  const other = pods.find(({ id }) => id !== holder)?.id;
  await redis.del('bull:mail:1:lock');
  expect(await judge(server, { settings })).toEqual({ gone: [other], why: undefined });
  await busy.kill();
  await redis.del('bull:mail:1:lock');
  const left = holder === 'pod-1' ? ['pod-2'] : [];
  await eventually(async () => expect((await judge(server, { settings })).gone).toEqual(left));
});

test('where only a number is known, all go when nothing is in hand, and none before', async () => {
  await using server = await startRedis();
  await using library = await customCase.open(server);
  const { settings } = customCase;
  const worker = await library.work('pod-1');
  await library.push(1);
  await eventually(async () =>
    expect(await judge(server, { settings, idleSince: ago(60_000) })).toEqual({
      gone: [],
      why: '1 task is in hand, and nothing shows in which pods: held until there are none',
    }),
  );
  await library.release(1);
  await eventually(async () =>
    expect((await judge(server, { settings, idleSince: ago(0) })).gone).toEqual(['pod-1', 'pod-2']),
  );
  await worker.stop();
});

describe('where running tasks are in no key', () => {
  const bounded: SourceSettings = { list: { keys: ['jobs'], longestTask: '10m' } };

  test('none goes without a bound on how long a task runs', async () => {
    await using server = await startRedis();
    const settings = { list: { keys: ['jobs'] } };
    expect(await judge(server, { settings, idleSince: ago(86_400_000) })).toEqual({
      gone: [],
      why: 'which pods hold a task is not known, because a task that was popped from a list is in no key of Redis: set longestTask of the source, or scaling.scaleDown.unmanaged: Always',
    });
  });

  test('all go when nothing was there to take for that long', async () => {
    await using server = await startRedis();
    const held = {
      gone: [],
      why: 'a task that was popped from a list is in no key of Redis: held until nothing was there to take for 10m (longestTask)',
    };
    expect(await judge(server, { settings: bounded, idleSince: ago(599_000) })).toEqual(held);
    expect(await judge(server, { settings: bounded })).toEqual(held);
    const unseen = `${held.why}, which cannot be seen while Redis does not let the controller track keys`;
    expect(await judge(server, { settings: bounded, tracked: false })).toEqual({ ...held, why: unseen });
    const all = { gone: ['pod-1', 'pod-2'], why: undefined };
    expect(await judge(server, { settings: bounded, idleSince: ago(600_001) })).toEqual(all);
    await server.client().lpush('jobs', 'one');
    expect(await judge(server, { settings: bounded, idleSince: ago(600_001) })).toEqual(held);
  });
});

test('scaleDown.unmanaged overrides what is seen', async () => {
  await using server = await startRedis();
  const { settings } = customCase;
  await server.client().hset('jobs:running', 'pod-1', 'a task');
  expect((await judge(server, { settings, unmanaged: 'Always' })).gone).toEqual(['pod-1', 'pod-2']);
  expect(await judge(server, { settings, unmanaged: 'Never', idleSince: ago(1e6) })).toEqual({
    gone: [],
    why: 'scaling.scaleDown.unmanaged is Never',
  });
});
