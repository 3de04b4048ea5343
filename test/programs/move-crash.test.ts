/** A process that moves a queue ends after each of its commands in turn: whoever continues finds everything, once. */
import { Redis, type Command } from 'ioredis';
import { expect, test } from 'vitest';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
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

test('after a crash at any command, each task, dead letter and counter is there once', async () => {
  await using from = await startRedis();
  await using there = await startRedis();
  const [old, now] = [from.client(), there.client()];
  const plans = [{ from: keys, to }];
  const move = (): Promise<unknown> =>
    moveQueues({ from: from.address, to: there.address, plans, leaseMs: 30 });
  let last = 1;
  for (let sent = 1; sent >= last; last++) {
    await old
      .pipeline()
      .lpush(keys.queue, ...tasks)
      .zadd(keys.delayed, 1, 'n|0|0|late')
      .lpush(keys.dead, '1 {"error":"","attempts":1,"worker":""}\ndead')
      .hset(keys.stats, 'completed', 5)
      .hset(keys.result, 'a', 'one', 'b', 'two')
      .exec();
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
    const sum = (all: readonly number[]): number => all.reduce((total, one) => total + one, 0);
    const found = { left, delayed: sum(delayed), dead: sum(dead), completed, results: sum(results) };
    expect(found, `command ${last}`).toEqual({ left: [], delayed: 1, dead: 1, completed: '5', results: 2 });
    expect(lists.flat().toSorted(), `command ${last}`).toEqual(tasks.toSorted());
    await now.flushall();
  }
  expect(last).toBeGreaterThan(20);
});
