/** What pools have learned, in a real Redis: when it is read and written, and which memories are ignored. */
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { decide } from '../../controller/decide/decide.ts';
import { noMemory, type Memory } from '../../controller/decide/decision.ts';
import { createMemoryStore } from '../../controller/records/memory-store.ts';
import { createSampler, type QueueLink } from '../../controller/sample/sampler.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { targetRule as policy } from '../support/policies.ts';

const log = pino({ level: 'silent' });

/** After one more look, at which so many tasks have finished in all. */
function learn(memory: Memory, completed: number, now: number): Memory {
  const counters = { taken: completed, completed, failed: 0, retried: 0, serviceUs: completed * 1e6 };
  const sample = { kind: 'known', waiting: 0, inFlight: 0, due: 0, leaving: 0, counters } as const;
  return decide(policy, sample, 1, memory, now).memory;
}

test('is written at most every 10 s, when something happened, and at the end; and read once', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using sampler = createSampler({ address: { url: server.url }, log, onSample: () => {} });
  const link: QueueLink = { sampler, queues: [keys] };
  await eventually(() => expect(sampler.redisOf(keys).status).toBe('ready'));
  const stored = async (): Promise<number | undefined> => {
    const text = await redis.get(keys.memory('shop/tiles'));
    return text === null ? undefined : JSON.parse(text).memory.learned.counters.completed;
  };

  const store = createMemoryStore(log);
  let memory = await store.recall('shop/tiles', link, noMemory, 0);
  expect(memory.learned).toBeUndefined();
  memory = learn(memory, 10, 0);
  store.keep('shop/tiles', link, memory, 0);
  await eventually(async () => expect(await stored()).toBe(10));
  expect(await redis.ttl(keys.memory('shop/tiles'))).toBeGreaterThan(89 * 24 * 3_600);

  memory = learn(memory, 20, 9_999);
  store.keep('shop/tiles', link, memory, 9_999);
  // on one connection what was sent first is done first
  await sampler.redisOf(keys).ping();
  expect(await stored()).toBe(10);
  store.keep('shop/tiles', link, memory, 10_000);
  await eventually(async () => expect(await stored()).toBe(20));

  // nothing happened: whoever else wrote meanwhile is left alone
  await redis.set(keys.memory('shop/tiles'), 'of somebody else');
  store.keep('shop/tiles', link, learn(memory, 20, 60_000), 60_000);
  await store.flush();
  expect(await redis.get(keys.memory('shop/tiles'))).toBe('of somebody else');
  expect(await store.recall('shop/tiles', link, memory, 60_000)).toBe(memory);

  store.keep('shop/tiles', link, learn(memory, 30, 61_000), 61_000);
  await sampler.redisOf(keys).ping();
  const later = learn(memory, 40, 62_000);
  store.keep('shop/tiles', link, later, 62_000);
  await store.flush();
  expect(await stored()).toBe(40);

  const next = createMemoryStore(log);
  const recalled = await next.recall('shop/tiles', link, noMemory, 63_000);
  expect(recalled.learned?.service).toEqual(later.learned?.service);
  expect(await next.recall('shop/other', link, noMemory, 63_000)).toEqual({
    ...noMemory,
    learned: undefined,
  });
});

test('other queues have other counters: what was learned of the first ones is not carried over, and theirs is read', async () => {
  await using server = await startRedis();
  const [first, second] = [freshKeys(), freshKeys()];
  await using sampler = createSampler({ address: { url: server.url }, log, onSample: () => {} });
  await eventually(() => expect(sampler.redisOf(first).status).toBe('ready'));
  const store = createMemoryStore(log);
  const one: QueueLink = { sampler, queues: [first] };
  const both: QueueLink = { sampler, queues: [first, second] };
  const memory = learn(await store.recall('shop/tiles', one, noMemory, 0), 10, 0);
  store.keep('shop/tiles', one, memory, 0);
  await store.flush();
  expect((await store.recall('shop/tiles', both, memory, 1_000)).learned).toBeUndefined();
  // back again: the memory of the first queue is still there, as nothing new was written
  expect((await store.recall('shop/tiles', one, noMemory, 2_000)).learned?.counters.completed).toBe(10);
});

test('while Redis cannot be read, the pool does without, and it is read as soon as it can be', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using sampler = createSampler({ address: { url: server.url }, log, onSample: () => {} });
  await eventually(() => expect(sampler.redisOf(keys).status).toBe('ready'));
  const link: QueueLink = { sampler, queues: [keys] };
  const writer = createMemoryStore(log);
  const memory = learn(await writer.recall('shop/tiles', link, noMemory, 0), 10, 0);
  writer.keep('shop/tiles', link, memory, 0);
  await writer.flush();

  const store = createMemoryStore(log);
  await redis.call('ACL', 'SETUSER', 'default', '-get', '-getrange');
  const without = await store.recall('shop/tiles', link, noMemory, 1_000);
  expect(without.learned).toBeUndefined();
  // nor is it written over before it was read
  store.keep('shop/tiles', link, learn(without, 12, 1_000), 1_000);
  await store.flush();
  await redis.call('ACL', 'SETUSER', 'default', '+get', '+getrange');
  expect((await store.recall('shop/tiles', link, without, 2_000)).learned?.counters.completed).toBe(10);
});
