/** `queue/move/`: a queue from one real server to another, with all that belongs to it. */
import { expect, test } from 'vitest';
import {
  MovedElsewhere,
  MoveTaken,
  moveQueues,
  DestinationInUse,
  MoveRefused,
} from '../../queue/move/move.ts';
import { queueKeys } from '../../queue/keys.ts';
import { partitionKeys, partitionOf } from '../../queue/partitions.ts';
import { openQueue } from '../../queue/queue.ts';
import { startRedis } from '../support/redis.ts';
import { startWorker } from '../support/workers.ts';

const keys = queueKeys('tiles', 'result');
const ids = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `t${from + i}`);

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

  await moveQueues({ from: from.address, to: to.address, plans: [{ from: keys, to: [keys] }], merge: true });

  expect(await old.keys('*')).toEqual([]);
  expect(await now.lrange(keys.queue, 0, -1)).toEqual([...ids(5_000).toReversed(), 'suspect']);
  expect(await now.hgetall(keys.history)).toEqual({ '=t7': '2:1:x:3', '=suspect': '1:2:x:4' });
  expect(await now.zrange(keys.delayed, '0', '-1', 'WITHSCORES')).toEqual(['n|1|0|later', String(due)]);
  expect((await now.lrange(keys.dead, 0, -1)).map((entry) => entry[0])).toEqual(['2', '1']);
  expect(await now.hgetall(keys.errors)).toEqual({ d: JSON.stringify(header) });
  expect(await now.hgetall(keys.result)).toEqual({ r1: 'one', r2: 'newer', r3: 'x'.repeat(9_000) });
  expect(await now.zrange(keys.cancelled, 0, -1)).toEqual(['t9']);
  expect(await now.zrange(keys.expiry, 0, -1)).toEqual(['d2', 'eabc|d', 'rabc|r1']);
  expect(await now.hgetall(keys.stats)).toEqual({ completed: '8', squaresS2: '1.5', marks: '1' });
  expect(await now.get(keys.paused)).toBe('5 for a while');
  expect(await now.get(keys.memory('shop/tiles'))).toBe('learned');
  expect(await now.ttl(keys.memory('shop/tiles'))).toBeGreaterThan(900);
  expect(await now.lrange(keys.decisions('shop/tiles'), 0, -1)).toEqual(['two', 'one']);
  expect(await now.xrange(keys.timeline('shop/tiles'), '-', '+')).toEqual([['5-0', ['v', '1']]]);
  const names = [keys.arrivals, keys.move, keys.moving];
  expect(await now.exists(...names)).toBe(0);
});
