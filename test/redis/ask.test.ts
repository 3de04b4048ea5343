/** Questions to Redis (ask.lua): what they may ask, what leaves the server, and what stands for the time. */
import { expect, test } from 'vitest';
import { createAsk, askAgain, type Watched } from '../../queue/sources/ask.ts';
import {
  count,
  fields,
  lowestScore,
  question,
  texts,
  waking,
  type Command,
} from '../../queue/sources/question.ts';
import { startRedis } from '../support/redis.ts';

test('all answers are of one instant, and times are by the clock of Redis', async () => {
  await using server = await startRedis({ ownClock: true });
  await server.setClock(-86_400_000);
  const redis = server.client();
  const [seconds = 0] = (await redis.time()).map(Number);
  const at = seconds * 1e3;
  await redis.zadd('ms × 4096', (at - 5) * 4_096, 'past', (at + 60_000) * 4_096 + 7, 'future');
  await redis.zadd('s', at / 1e3 - 0.5, 'past', at / 1e3 + 60, 'future');
  const ask = createAsk(redis);
  const scaled = { plusMs: 0, factor: 4_096, offset: 4_095 };
  const { now, answers } = await ask({
    due: count('ZCOUNT', 'ms × 4096', '-inf', scaled),
    soon: count('ZCOUNT', 'ms × 4096', { ...scaled, exclusive: true }, { ...scaled, plusMs: 61_000 }),
    later: count('ZCOUNT', 'ms × 4096', { ...scaled, plusMs: 61_000, exclusive: true }, '+inf'),
    dueSeconds: count('ZCOUNT', 's', '-inf', { plusMs: 0, factor: 0.001, offset: 0 }),
    lowest: lowestScore('s'),
  });
  expect(now).toBeGreaterThanOrEqual(at);
  expect(answers).toEqual({ due: 1, soon: 1, later: 0, dueSeconds: 1, lowest: at / 1e3 - 0.5 });
});

test('of texts that clients wrote only the beginnings leave Redis', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const long = 'x'.repeat(100_000);
  await redis.hset('hash', 'long', long, 'short', 'y');
  await redis.rpush('list', long, 'second', 'third');
  const ask = createAsk(redis);
  const { answers } = await ask({
    both: fields('hash', 'long', 'none', 'short'),
    some: texts('LRANGE', 'list', 0, 1),
    beyond: texts('LRANGE', 'list', 0, 99),
  });
  expect(answers.both).toEqual(['x'.repeat(1_024), undefined, 'y']);
  expect(answers.some).toEqual(['x'.repeat(1_024), 'second']);
  expect(answers.beyond).toHaveLength(3);
});

test('a change of a waking key shows in what is asked again, and nothing else does', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const watched: Watched[] = [];
  const ask = createAsk(redis, (one) => watched.push(one));
  await ask({ list: waking(count('LLEN', 'list')), other: count('LLEN', 'other') });
  expect(watched.map(({ question: { key } }) => key)).toEqual(['list']);
  expect(await askAgain(redis, watched)).toEqual(watched.map(({ reply }) => reply));
  await redis.lpush('other', 'a');
  expect(await askAgain(redis, watched)).toEqual(watched.map(({ reply }) => reply));
  await redis.lpush('list', 'a');
  expect(await askAgain(redis, watched)).not.toEqual(watched.map(({ reply }) => reply));
});

test('a command that is not on the list is not sent', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await redis.set('key', 'kept');
  const writing = question('DEL' as Command, 'key', [], (reply) => reply);
  await expect(createAsk(redis)({ writing })).rejects.toThrow('DEL is not a command that a source may use');
  expect(await redis.get('key')).toBe('kept');
});

test('a reply of another kind than the command has is refused', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await redis.zadd('set', Infinity, 'never');
  const ask = createAsk(redis);
  expect((await ask({ lowest: lowestScore('set') })).answers.lowest).toBe(Number.MAX_SAFE_INTEGER);
  await expect(
    ask({ wrong: question('ZRANGE', 'set', [0, 0], (reply) => count('LLEN', 'x').decode(reply)) }),
  ).rejects.toThrow('expected the reply to LLEN x as a count, got an array of 1');
});
