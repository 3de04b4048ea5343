/** `queue/move/`: a queue from one real server to another, with all that belongs to it. */
import { expect, test } from 'vitest';
import { moveQueues, type MoveOptions } from '../../queue/move/move.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { partitionKeys, partitionOf } from '../../queue/partitions.ts';
import { openQueue, TaskCancelled } from '../../queue/queue.ts';
import { defineScripts, script } from '../../queue/scripts/scripts.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { startHandWorker } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

const keys = queueKeys('tiles', 'result');
const ids = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `t${from + i}`);

/** From one server to a queue of the same name on another one. */
const between = (
  from: RedisServer,
  to: RedisServer,
): Pick<MoveOptions, 'from' | 'to' | 'plans' | 'leaseMs'> => ({
  from: from.address,
  to: to.address,
  plans: [{ from: keys, to: [keys], records: { from: keys, to: keys } }],
  leaseMs: 100,
});

test('all that belongs to a queue is in its new place, and nothing is left', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  const [old, now] = [from.client(), to.client()];
  await old.lpush(keys.queue, ...ids(5_000));
  await old.hset(keys.history, '=t7', '2:1:x:3');
  await old.lpush(keys.suspects, '1:2:x:4|suspect');
  const due = Date.now() + 3_600_000;
  await old.zadd(keys.delayed, due, 'n|1|0|later');
  const header = { error: 'boom', attempts: 3, worker: 'w', id: 'd' };
  await old.lpush(keys.dead, `1 ${JSON.stringify(header)}\n{"id":"d"}`, `2 ${JSON.stringify(header)}\nnewer`);
  await old.hset(keys.errors, 'd', JSON.stringify(header));
  await old.hset(keys.result, 'r1', 'one', 'r2', 'two', 'r3', 'x'.repeat(9_000));
  await now.hset(keys.result, 'r2', 'newer');
  await old.zadd(keys.cancelled, due, 't9');
  await old.zadd(keys.expiry, due, 'd2', due, 'eabc|d', due, 'rabc|r1');
  await old.hset(keys.stats, 'completed', 7, 'squaresS2', '1.5', 'asideSince', 3, 'marks', 1);
  await now.hset(keys.stats, 'completed', 1);
  await old.set(keys.paused, '5 for a while');
  await old.set(keys.memory('shop/tiles'), 'learned', 'EX', 1_000);
  await old.lpush(keys.decisions('shop/tiles'), 'one', 'two');
  await old.xadd(keys.timeline('shop/tiles'), '5-0', 'v', '1');

  await moveQueues({ ...between(from, to), merge: true });

  expect(await old.keys('*')).toEqual([]);
  expect(await now.lrange(keys.queue, 0, -1)).toEqual([...ids(5_000).toReversed(), 'suspect']);
  expect(await now.hgetall(keys.history)).toEqual({ '=t7': '2:1:x:3', '=suspect': '1:2:x:4' });
  expect(await now.zrange(keys.delayed, '0', '-1', 'WITHSCORES')).toEqual(['n|1|0|later', String(due)]);
  expect((await now.lrange(keys.dead, 0, -1)).map((entry) => entry[0])).toEqual(['2', '1']);
  expect(await now.hgetall(keys.errors)).toEqual({ d: JSON.stringify(header) });
  expect(await now.hgetall(keys.result)).toEqual({ r1: 'one', r2: 'newer', r3: 'x'.repeat(9_000) });
  expect(await now.zrange(keys.cancelled, '0', '-1')).toEqual(['t9']);
  expect(await now.zrange(keys.expiry, '0', '-1')).toEqual(['d2', 'eabc|d', 'rabc|r1']);
  expect(await now.hgetall(keys.stats)).toEqual({ completed: '8', squaresS2: '1.5', marks: '1' });
  expect(await now.get(keys.paused)).toBe('5 for a while');
  expect(await now.get(keys.memory('shop/tiles'))).toBe('learned');
  expect(await now.ttl(keys.memory('shop/tiles'))).toBeGreaterThan(900);
  expect(await now.lrange(keys.decisions('shop/tiles'), 0, -1)).toEqual(['two', 'one']);
  expect(await now.xrange(keys.timeline('shop/tiles'), '-', '+')).toEqual([['5-0', ['v', '1']]]);
  const names = [keys.arrivals, keys.move, keys.moving];
  expect(await now.exists(...names)).toBe(0);
});

test('the mark of a cancelled task that a worker of the old place holds stays until that has met it', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  const [old, now] = [from.client(), to.client()];
  await old.lpush(keys.queue, 'held');
  const worker = await startHandWorker(old, keys);
  const { tasks } = await worker.turn({ want: 1 });
  await old.lpush(keys.queue, 'waits');
  const due = Date.now() + 3_600_000;
  await old.zadd(keys.cancelled, due, 'held', due, 'waits');
  const marks = (): Promise<string[][]> =>
    Promise.all([old, now].map((redis) => redis.zrange(keys.cancelled, '0', '-1')));
  let met: Promise<string[][]> | undefined;
  const meet = async (): Promise<string[][]> => {
    const found = await marks();
    await worker.turn({
      settled: { cancelled: tasks.map(({ receipt }) => ({ receipt, id: 'held', header: '{}' })) },
    });
    return found;
  };
  await moveQueues({ ...between(from, to), onWaiting: () => void (met ??= meet()) });
  expect(await met).toEqual([['held'], ['waits']]);
  expect(await marks()).toEqual([[], ['waits']]);
  expect(await now.lrange(keys.queue, 0, -1)).toEqual(['waits']);
  expect(await now.hget(keys.stats, 'cancelled')).toBe('1');
});

test.each([1, 4])(
  'a client of the new place, in %i lists, cancels what a worker of the old place runs',
  async (count) => {
    await using from = await startRedis();
    await using to = await startRedis();
    const names = { queue: 'tiles', result: 'result' };
    const lists = partitionKeys('tiles', 'result', count) as [QueueKeys, ...QueueKeys[]];
    await using old = openQueue({ redis: from.address, ...names });
    await using client = openQueue({ redis: to.address, ...names, partitions: count });
    const handler = (_task: unknown, { signal }: { signal: AbortSignal }): Promise<never> =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    await using worker = startWorker(from, keys, { handler, concurrency: 2 });
    await worker.ready();
    await old.enqueueMany(['one', 'two']);
    await eventually(async () => expect(await old.inspect()).toMatchObject({ inFlight: 2 }));
    let cancelled: Promise<unknown> | undefined;
    await moveQueues({
      ...between(from, to),
      plans: [{ from: keys, to: lists, records: { from: keys, to: keys } }],
      onWaiting: () => void (cancelled ??= Promise.all([client.cancel('one'), client.cancel('two')])),
    });
    expect(await cancelled).toEqual(['marked', 'marked']);
    for (const id of ['one', 'two']) await expect(client.result(id)).rejects.toThrow(TaskCancelled);
    const servers = [from, to].map((server) => server.client());
    for (const redis of servers)
      for (const { cancelled: marks } of [keys, ...lists]) expect(await redis.zcard(marks)).toBe(0);
  },
);

test('tasks keep their order, and those that clients push to the new place meanwhile come after them', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  const now = to.client();
  await from.client().lpush(keys.queue, ...ids(5_000));
  const pushed: Promise<unknown>[] = [];
  await moveQueues({
    ...between(from, to),
    onMoved: (what) => what === 'tasks' && pushed.push(now.lpush(keys.queue, `new${pushed.length}`)),
  });
  await Promise.all(pushed);
  const order = [...ids(5_000), ...pushed.map((_, i) => `new${i}`)];
  expect(await now.lrange(keys.queue, 0, -1)).toEqual(order.toReversed());
});

test('one list becomes partitions, fewer partitions, and one list again', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const lists = (partitions: number): [QueueKeys, ...QueueKeys[]] =>
    partitionKeys('tiles', 'result', partitions) as [QueueKeys, ...QueueKeys[]];
  const move = (before: number, after: number): Promise<unknown> => {
    const plans = lists(before).map((one) => ({ from: one, to: lists(after) }));
    return moveQueues({ from: server.address, to: server.address, plans });
  };
  const chosen = (partitions: number, i: number): string[] =>
    ids(500).filter((id) => partitionOf(id, partitions) === i);
  await redis.lpush(keys.queue, ...ids(500));
  await redis.hset(keys.result, Object.fromEntries(ids(500).map((id) => [id, id])));
  for (const [before, after] of [
    [1, 4],
    [4, 2],
    [2, 1],
  ] as const) {
    await move(before, after);
    for (const [i, { queue, result }] of lists(after).entries()) {
      expect((await redis.lrange(queue, 0, -1)).toSorted()).toEqual(chosen(after, i).toSorted());
      expect((await redis.hkeys(result)).toSorted()).toEqual(chosen(after, i).toSorted());
    }
    expect((await redis.keys('*')).length).toBe(2 * after);
  }
});

test('due times are moved with the clock', async () => {
  await using from = await startRedis();
  await using to = await startRedis({ ownClock: true });
  await to.setClock(3_600_000);
  await from.client().zadd(keys.delayed, 1_000_000, 'n|0|0|task');
  await moveQueues(between(from, to));
  const [, score] = await to.client().zrange(keys.delayed, '0', '-1', 'WITHSCORES');
  expect(Math.abs(Number(score) - 4_600_000)).toBeLessThan(600_000);
});

test('a move that is interrupted or refused goes on later, to the same place only', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  await using elsewhere = await startRedis();
  const [old, now] = [from.client(), to.client()];
  await old.lpush(keys.queue, ...ids(5_000));
  const stopping = new AbortController();
  const interrupted = moveQueues({
    ...between(from, to),
    signal: stopping.signal,
    onMoved: () => stopping.abort(),
  });
  await expect(interrupted).rejects.toThrow('interrupted');
  expect(await old.exists(keys.moving)).toBe(0);
  await expect(moveQueues(between(from, elsewhere))).rejects.toThrow('in another Redis');

  await now.config('SET', 'maxmemory', '1');
  await expect(moveQueues(between(from, to))).rejects.toThrow('OOM');
  await now.config('SET', 'maxmemory', '0');
  // of another type: nothing of the batch is written
  await now.rename(keys.queue, 'aside');
  await now.set(keys.queue, 'text');
  await expect(moveQueues(between(from, to))).rejects.toThrow('WRONGTYPE');
  await now.rename('aside', keys.queue);

  // the old place needs no memory
  await old.config('SET', 'maxmemory', '1');
  expect(await moveQueues(between(from, to))).toMatchObject({ resumed: true });
  expect(await now.lrange(keys.queue, 0, -1)).toEqual(ids(5_000).toReversed());
  expect(await old.keys('*')).toEqual([]);
});

test('small tasks before large ones: a batch has no more than a few of those', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  const large = 'x'.repeat(1 << 16);
  await from.client().lpush(keys.queue, ...ids(500), ...ids(40).map((id) => `${id}${large}`));
  const counts: number[] = [];
  await moveQueues({ ...between(from, to), onMoved: (_what, count) => counts.push(count) });
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(540);
  // 1 MiB is sixteen of them, and the size of twenty is not known before they are taken
  expect(counts[0]).toBeLessThanOrEqual(500 + 20);
});

test('a source that has lost the record of a move says so', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  const old = from.client();
  await old.lpush(keys.queue, 'held');
  // without an end of it, the move has none
  await (await startHandWorker(old, keys)).turn({ want: 1 });
  const forget = (): void => void old.del(keys.move);
  await expect(moveQueues({ ...between(from, to), onWaiting: forget })).rejects.toThrow(
    'the source no longer has the record of this move of "tiles"',
  );
});

test('a second move of the same queue, a replica and a queue that is there already are refused', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  await from.client().lpush(keys.queue, 'task');
  const ended = new AbortController();
  let second: unknown;
  await moveQueues({
    ...between(from, to),
    leaseMs: 3_000,
    followMs: 60_000,
    signal: ended.signal,
    onFollowing: () =>
      void moveQueues(between(from, to))
        .catch((error: unknown) => (second = error))
        .finally(() => ended.abort()),
  });
  expect(String(second)).toContain('another millrace move is moving "tiles"');

  await from.client().lpush(keys.queue, 'task');
  await expect(moveQueues(between(from, to))).rejects.toThrow('has a queue "tiles" already: 1 waiting');
  expect(await from.client().keys('*')).toEqual([keys.queue]);
  await to.client().replicaof('127.0.0.1', from.port);
  await expect(moveQueues(between(from, to))).rejects.toThrow('read-only replica');
});

test('decisions whose reply was lost with the connection stand in the new place once', async () => {
  await using from = await startRedis();
  await using to = await startRedis();
  await using proxy = await startTcpProxy(to.port);
  const [old, now] = [from.client(), defineScripts(to.client())];
  const key = keys.decisions('shop/tiles');
  const known = keys.decisions('shop/other');
  await script(now, 'move-decisions')(known, 'so that the server knows the script');
  await old.lpush(key, 'one', 'two');
  proxy.stallAfter(key);
  const plan = between(from, to);
  const moving = moveQueues({ ...plan, to: { url: `redis://127.0.0.1:${proxy.port}` }, merge: true });
  await eventually(async () => expect(await now.lrange(key, 0, -1)).toEqual(['two', 'one']));
  proxy.cut();
  proxy.resume();
  await moving;
  expect(await now.lrange(key, 0, -1)).toEqual(['two', 'one']);
  expect(await old.keys('*')).toEqual([]);
});
