/** A process that moves a queue ends after each of its commands in turn: whoever continues finds everything, once. */
import { Redis, type Command } from 'ioredis';
import { expect, test } from 'vitest';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { abandonMoves } from '../../queue/move/abandon.ts';
import { moveQueues } from '../../queue/move/move.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { startRedis } from '../support/redis.ts';

const keys = queueKeys('tiles', 'result');
const to = partitionKeys('tiles', 'result', 2) as [QueueKeys, ...QueueKeys[]];
/** More than a batch. */
const tasks = Array.from({ length: 2_100 }, (_, i) => `t${i}`);
const inside = Redis.prototype as { sendCommand: (this: Redis, command: Command) => unknown };

/** Runs `act`; its connections are lost for good with its `last`th command, which the server still gets. Resolves to the commands sent. */
async function dyingAfter(last: number, act: () => Promise<unknown>): Promise<number> {
  const send = inside.sendCommand;
  const open = new Set<Redis>();
  let sent = 0;
  inside.sendCommand = function doomed(command) {
    const dead = sent >= last;
    open.add(this);
    if (!dead && /^(eval|evalsha|h|z)/.test(command.name) && ++sent === last) {
      const reply = send.call(this, command);
      for (const redis of open) redis.disconnect();
      return reply;
    }
    if (dead) this.disconnect();
    return send.call(this, command);
  };
  try {
    await act().catch(() => undefined);
  } finally {
    inside.sendCommand = send;
  }
  return sent;
}

async function fill(redis: Redis): Promise<void> {
  await redis
    .pipeline()
    .lpush(keys.queue, ...tasks)
    .zadd(keys.delayed, 1, 'n|0|0|late')
    .lpush(keys.dead, '1 {"error":"","attempts":1,"worker":""}\ndead')
    .hset(keys.stats, 'completed', 5)
    .hset(keys.result, 'a', 'one', 'b', 'two')
    .exec();
}

const sum = (all: readonly number[]): number => all.reduce((total, one) => total + one, 0);

test('after a crash at any command, each task, dead letter and counter is there once', async () => {
  await using from = await startRedis();
  await using there = await startRedis();
  const [old, now] = [from.client(), there.client()];
  const plans = [{ from: keys, to }];
  const move = (): Promise<unknown> =>
    moveQueues({ from: from.address, to: there.address, plans, leaseMs: 30 });
  let last = 1;
  for (let sent = 1; sent >= last; last++) {
    await fill(old);
    sent = 1 + (await dyingAfter(last, move));
    await move();
    const [left, lists, delayed, dead, completed, results] = await Promise.all([
      old.keys('*'),
      Promise.all(to.map(({ queue }) => now.lrange(queue, 0, -1))),
      Promise.all(to.map((one) => now.zcard(one.delayed))),
      Promise.all(to.map((one) => now.llen(one.dead))),
      now.hget(to[0].stats, 'completed'),
      Promise.all(to.map(({ result }) => now.hlen(result))),
    ]);
    const found = { left, delayed: sum(delayed), dead: sum(dead), completed, results: sum(results) };
    expect(found, `command ${last}`).toEqual({ left: [], delayed: 1, dead: 1, completed: '5', results: 2 });
    expect(lists.flat().toSorted(), `command ${last}`).toEqual(tasks.toSorted());
    await now.flushall();
  }
  expect(last).toBeGreaterThan(20);
});

test('a move that is abandoned after a crash at any command: each task, dead letter and counter is in one of the places', async () => {
  await using from = await startRedis();
  await using there = await startRedis();
  const [old, now] = [from.client(), there.client()];
  const plans = [{ from: keys, to }];
  const places = { from: from.address, to: there.address, leaseMs: 30 };
  let last = 1;
  for (let sent = 1; sent >= last; last++) {
    await fill(old);
    sent = 1 + (await dyingAfter(last, () => moveQueues({ ...places, plans })));
    const abandon = (): Promise<unknown> => abandonMoves({ ...places, queues: [keys] });
    // which ends early, too
    await dyingAfter(1 + (last % 5), abandon);
    await abandon();
    const both = [{ redis: old, keys }, ...to.map((one) => ({ redis: now, keys: one }))];
    const lists = await Promise.all(both.map((one) => one.redis.lrange(one.keys.queue, 0, -1)));
    const delayed = await Promise.all(both.map((one) => one.redis.zcard(one.keys.delayed)));
    const dead = await Promise.all(both.map((one) => one.redis.llen(one.keys.dead)));
    const completed = await Promise.all(both.map((one) => one.redis.hget(one.keys.stats, 'completed')));
    const results = await Promise.all(both.map((one) => one.redis.hkeys(one.keys.result)));
    expect(
      {
        delayed: sum(delayed),
        dead: sum(dead),
        completed: sum(completed.map(Number)),
        results: [...new Set(results.flat())].toSorted(),
        left: await old.exists(keys.move, keys.moving),
      },
      `command ${last}`,
    ).toEqual({ delayed: 1, dead: 1, completed: 5, results: ['a', 'b'], left: 0 });
    expect(lists.flat().toSorted(), `command ${last}`).toEqual(tasks.toSorted());
    const [stayed = []] = lists;
    const before = new Set(stayed);
    expect(stayed.toReversed(), `command ${last}`).toEqual(tasks.filter((task) => before.has(task)));
    await Promise.all([old.flushall(), now.flushall()]);
  }
  expect(last).toBeGreaterThan(20);
});
