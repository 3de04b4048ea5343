/** The other end of the list: what is pushed there is taken next, by whoever takes. */
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys, startHandWorker, texts } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

test('RPUSH is for what cannot wait: it is taken before all that waits, the newest first, and wakes an idle worker', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b', 'c');
  await redis.rpush(keys.queue, 'urgent 1', 'urgent 2');
  const hand = await startHandWorker(redis, keys);
  expect(texts((await hand.turn({ want: 3 })).tasks)).toEqual(['urgent 2', 'urgent 1', 'a']);
  await using _worker = startWorker(server, keys, { handler: (task) => task });
  await eventually(async () => expect(await redis.hlen(keys.result)).toBe(2));
  await redis.rpush(keys.queue, 'urgent 3');
  await eventually(async () => expect(await redis.hget(keys.result, 'urgent 3')).toBe('urgent 3'));
});
