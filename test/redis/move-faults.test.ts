/** `queue/move/` while clients go on pushing, clocks are set, and servers go back in time. */
import { expect, test } from 'vitest';
import { moveQueues, type MoveOptions } from '../../queue/move/move.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { openQueue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';

const names = { queue: 'tiles', result: 'result' };
const keys = queueKeys('tiles', 'result');
const ids = (name: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${name}${i}`);

const between = (
  from: RedisServer,
  to: RedisServer,
): Pick<MoveOptions, 'from' | 'to' | 'plans' | 'leaseMs'> => ({
  from: from.address,
  to: to.address,
  plans: [{ from: keys, to: [keys] }],
  leaseMs: 100,
});

/** Moves so many batches and is interrupted. */
async function moveSome(options: MoveOptions, batches: number): Promise<void> {
  const stopping = new AbortController();
  let left = batches;
  const interrupted = moveQueues({
    ...options,
    signal: stopping.signal,
    onMoved: () => {
      if (--left === 0) stopping.abort();
    },
  });
  await expect(interrupted).rejects.toThrow('interrupted');
}

test('a source that goes back in time, after its clock was set back, gives no number of a batch twice', async () => {
  await using from = await startRedis({ ownClock: true });
  await using to = await startRedis();
  const old = from.client();
  await from.setClock(3_600_000);
  await old.lpush(keys.queue, ...ids('task', 10_000));
  await moveSome(between(from, to), 1);
  await from.setClock(0);
  const before = [keys.queue, keys.move];
  const snapshot = await Promise.all(before.map((key) => old.dumpBuffer(key)));
  await moveSome(between(from, to), 3);
  await Promise.all(before.map((key, i) => old.restore(key, 0, snapshot[i] ?? '', 'REPLACE')));
  await old.rpush(keys.queue, ...ids('urgent', 3_000));

  await moveQueues(between(from, to));

  const there = new Set(await to.client().lrange(keys.queue, 0, -1));
  expect([...ids('task', 10_000), ...ids('urgent', 3_000)].filter((task) => !there.has(task))).toEqual([]);
});

test('delayed tasks are moved while tasks come faster than they are moved, and so is the rest when it ends', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  const [old, now] = [from.client(), to.client()];
  // what is pushed directly is there before the next batch is taken
  await using slow = await startTcpProxy(from.port, { roundTripMs: 20 });
  await old.lpush(keys.queue, 'first');
  await old.zadd(keys.delayed, 1, 'n|1|0|due');
  let pushed = 1;
  const pushes: Promise<unknown>[] = [];
  const stopping = new AbortController();
  const following = Promise.withResolvers<void>();
  const moved = moveQueues({
    ...between(from, to),
    from: { url: `redis://127.0.0.1:${slow.port}` },
    followMs: 600_000,
    signal: stopping.signal,
    onMoved: (what) => {
      if (what === 'tasks') pushes.push(old.lpush(keys.queue, `more${pushed++}`));
    },
    onFollowing: following.resolve,
  });
  await eventually(async () => expect(await now.zcard(keys.delayed)).toBe(1));
  await following.promise;
  stopping.abort();
  await moved;
  await Promise.all(pushes);
  const both = await Promise.all([old, now].map((redis) => redis.llen(keys.queue)));
  expect(both.reduce((sum, length) => sum + length, 0)).toBe(pushed);
});

test('without following, a move ends when the old place was empty once, with what came while it moved', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  const old = from.client();
  await using slow = await startTcpProxy(from.port, { roundTripMs: 20 });
  await old.lpush(keys.queue, 'first');
  let pushed = 1;
  await moveQueues({
    ...between(from, to),
    from: { url: `redis://127.0.0.1:${slow.port}` },
    onMoved: () => {
      if (pushed < 5) void old.lpush(keys.queue, `more${pushed++}`);
    },
  });
  expect(await to.client().llen(keys.queue)).toBe(5);
  expect(await old.exists(keys.queue)).toBe(0);
});

test('the key of a unique task goes along: the old place takes the next one, the new place knows the first', async () => {
  await using from = await startRedis();
  await using to = await startRedis({ ownClock: true });
  await to.setClock(3_600_000);
  await using old = openQueue({ redis: from.address, ...names });
  await using now = openQueue({ redis: to.address, ...names });
  const unique = 'reindex-7';
  const id = await old.enqueue({ kind: 'reindex' }, { unique, uniqueForMs: 60_000 });
  const later = await old.enqueue({ kind: 'late' }, { unique: 'late', delayMs: 60_000 });
  // of another task
  await from.client().lpush(keys.queue, '{"id":"other","millrace":{"unique":"theirs"}}');
  await from.client().set(keys.unique('theirs'), '{"id":"first","till":0}', 'PX', 60_000);
  await from.client().set(keys.unique('odd'), 'text', 'PX', 60_000);

  await moveQueues(between(from, to));

  expect(await now.enqueueUnique({ kind: 'reindex' }, { unique })).toEqual({ id, duplicate: true });
  expect(await now.enqueueUnique({ kind: 'late' }, { unique: 'late' })).toEqual({
    id: later,
    duplicate: true,
  });
  const lock = JSON.parse((await to.client().get(keys.unique(unique))) ?? '') as { till: number };
  expect(Math.abs(lock.till - Date.now() - 3_660_000)).toBeLessThan(600_000);
  expect((await from.client().keys(keys.unique('*'))).toSorted()).toEqual(
    ['odd', 'theirs'].map((key) => keys.unique(key)),
  );
  expect(await old.enqueueUnique({ kind: 'reindex' }, { unique })).toMatchObject({ duplicate: false });
});

test('into partitions, which have no unique tasks, keys end', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  await using old = openQueue({ redis: from.address, ...names });
  await old.enqueue({ kind: 'reindex' }, { unique: 'reindex-7' });
  const lists = ['tiles:{0}', 'tiles:{1}'].map((queue, i) => queueKeys(queue, `result:{${i}}`));
  await moveQueues({ ...between(from, to), plans: [{ from: keys, to: lists as [QueueKeys, QueueKeys] }] });
  for (const server of [from, to]) expect(await server.client().keys('*:unique:*')).toEqual([]);
});

test('due times are moved with a clock that is set while they are moved', async () => {
  await using from = await startRedis();
  await using to = await startRedis({ ownClock: true });
  await from.client().zadd(keys.delayed, ...ids('n|0|0|task', 4_000).flatMap((task) => [1_000_000, task]));
  let set: Promise<void> | undefined;
  await moveQueues({ ...between(from, to), onMoved: () => void (set ??= to.setClock(3_600_000)) });
  await set;
  const early = await to.client().zcount(keys.delayed, 0, 1_600_000);
  const late = await to.client().zcount(keys.delayed, 4_000_000, 5_200_000);
  expect(early).toBeGreaterThan(0);
  expect(late).toBeGreaterThan(0);
  expect(early + late).toBe(4_000);
});

test('the lease of a process that has died ends, though the clock of the source was set back', async () => {
  await using from = await startRedis({ ownClock: true });
  await using to = await startRedis();
  const old = from.client();
  await old.lpush(keys.queue, ...ids('task', 5_000));
  await moveSome(between(from, to), 1);
  // it had two hours more to live than its lease was long
  await from.setClock(7_200_000);
  const ends = Date.now() + 7_200_000 + 300;
  await old.hset(keys.move, { holder: 'dead', ends, lease: 300 });
  await from.setClock(0);
  expect(await moveQueues(between(from, to))).toMatchObject({ resumed: true });
  expect(await to.client().llen(keys.queue)).toBe(5_000);
});

test('a process that has lost the queue to another one does not end its move', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  const [old, now] = [from.client(), to.client()];
  await old.lpush(keys.queue, 'task');
  let stolen: Promise<unknown> | undefined;
  // the last batch: the lease is taken over while counters are moved
  await old.hset(keys.stats, 'completed', 1);
  const moved = moveQueues({
    ...between(from, to),
    leaseMs: 600_000,
    onMoved: () => void (stolen ??= old.hset(keys.move, 'holder', 'another')),
  });
  await expect(moved).rejects.toThrow('another millrace move is moving "tiles"');
  await stolen;
  expect(await now.exists(keys.arrivals)).toBe(1);
});
