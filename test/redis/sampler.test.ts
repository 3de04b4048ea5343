/** The sampler on a real Redis: what it knows, what it says when it knows nothing, and that it comes back by itself. */
import { expect, test } from 'vitest';
import { pino } from 'pino';
import { createRedisHub } from '../../controller/redis-hub.ts';
import { createSampler, type Sampled, type Sampler, type SamplerOptions } from '../../controller/sampler.ts';
import type { RedisAddress } from '../../queue/connection.ts';
import { delayedMember } from '../../queue/task.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { done, freshKeys, startHandWorker } from '../support/turns.ts';

interface Sampling extends AsyncDisposable {
  readonly sampler: Sampler;
  /** All that `latest` ever was, per call of onSample. */
  readonly seen: { id: string; sampled: Sampled }[];
  readonly log: string[];
}

function sample(address: RedisAddress, options: Partial<SamplerOptions> = {}): Sampling {
  const seen: { id: string; sampled: Sampled }[] = [];
  const log: string[] = [];
  const sink = { write: (line: string) => void log.push(line) };
  const onSample = (id: string): void => void seen.push({ id, sampled: sampler.latest(id) });
  const sampler = createSampler({ address, onSample, log: pino({}, sink), pollMs: 50, ...options });
  return { sampler, seen, log, [Symbol.asyncDispose]: () => sampler[Symbol.asyncDispose]() };
}

const known = (sampler: Sampler, id: string, parts: object): Promise<void> =>
  eventually(() => expect(sampler.latest(id)).toMatchObject({ kind: 'known', sample: parts }));

const unknown = (sampler: Sampler, reason: string, why: RegExp, withinMs = 5_000): Promise<void> =>
  eventually(
    () => expect(sampler.latest('p')).toEqual({ kind: 'unknown', reason, why: expect.stringMatching(why) }),
    { withinMs },
  );

test('what is waiting, in flight, delayed and due, and the counters', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using sampling = sample(server.address);
  const { sampler } = sampling;
  expect(sampler.latest('p')).toMatchObject({ kind: 'unknown', reason: 'NotSampledYet' });
  sampler.add('p', keys);
  await known(sampler, 'p', { waiting: 0, workers: 0, nextDue: undefined });
  await redis.lpush(keys.queue, 'a', 'b', 'c', 'd');
  const worker = await startHandWorker(redis, keys);
  const { tasks, now } = await worker.turn({ want: 3 });
  await worker.turn({ settled: { results: tasks.slice(0, 1).map((task) => done(task)), serviceUs: 2_500 } });
  await redis.zadd(keys.delayed, now - 5, delayedMember('1', 'x'), now + 60_000, delayedMember('2', 'y'));
  await known(sampler, 'p', {
    ...{ waiting: 1, inFlight: 2, busy: 1, delayed: 2, due: 1, nextDue: now - 5, workers: 1, expired: 0 },
    counters: { taken: 3, completed: 1, failed: 0, retried: 0, recovered: 0, fenced: 0, serviceUs: 2_500 },
  });
});

test('an idle queue is not polled, and a push is seen within milliseconds all the same', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using sampling = sample(server.address, { safetyMs: 60_000 });
  const { sampler, seen } = sampling;
  sampler.add('p', keys);
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  await known(sampler, 'p', { waiting: 0 });
  sampler.setActive('p', false);
  await eventually(async () => {
    const before = seen.length;
    await new Promise((resolve) => void setTimeout(resolve, 200));
    expect(seen.length).toBe(before);
  });
  const pushed = performance.now();
  await redis.lpush(keys.queue, 'a');
  await known(sampler, 'p', { waiting: 1 });
  expect(performance.now() - pushed).toBeLessThan(60);
});

test('an idle queue whose delayed task falls due is looked at then', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using sampling = sample(server.address, { safetyMs: 60_000 });
  const { sampler } = sampling;
  sampler.add('p', keys);
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  await known(sampler, 'p', { waiting: 0 });
  sampler.setActive('p', false);
  const [seconds = 0] = (await redis.time()).map(Number);
  await redis.zadd(keys.delayed, seconds * 1_000 + 1_400, delayedMember('1', 'x'));
  await known(sampler, 'p', { delayed: 1 });
  await known(sampler, 'p', { due: 1 });
});

test('a server that is away is unknown and never zero; it is known again without a restart', async () => {
  await using server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b');
  await using sampling = sample(server.address);
  const { sampler, seen } = sampling;
  sampler.add('p', keys);
  await known(sampler, 'p', { waiting: 2 });
  await server.kill();
  await unknown(sampler, 'Unreachable', /^Redis at 127\.0\.0\.1:\d+\/?\d* refuses connections: is it running/);
  await server.start();
  await known(sampler, 'p', { waiting: 2 });
  for (const { sampled } of seen)
    if (sampled.kind === 'known') expect(sampled.sample.waiting).toBe(2);
    else expect(sampled.why).toMatch(/refuses connections|closes the connection|did not answer/);
});

test('a server that does not answer is unknown too, and known when it does again', async () => {
  await using server = await startRedis();
  const keys = freshKeys();
  await server.client().lpush(keys.queue, 'a');
  await using sampling = sample(server.address);
  const { sampler } = sampling;
  sampler.add('p', keys);
  await known(sampler, 'p', { waiting: 1 });
  server.stop();
  await unknown(sampler, 'Unreachable', /did not answer in time/);
  server.cont();
  await known(sampler, 'p', { waiting: 1 });
});

test('a wrong password is told in words; when the server takes it, all is well without a restart', async () => {
  await using server = await startRedis({ password: 'right' });
  const redis = server.client();
  const keys = freshKeys();
  await using sampling = sample({ url: server.url, password: 'wrong' });
  const { sampler } = sampling;
  sampler.add('p', keys);
  await unknown(sampler, 'Unreachable', /refuses the user name or password/);
  await redis.config('SET', 'requirepass', 'wrong');
  await known(sampler, 'p', { waiting: 0 });
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  await redis.config('SET', 'requirepass', 'right');
});

test('TLS that does not fit is told in words', async () => {
  await using server = await startRedis({ tls: 'server' });
  for (const address of [{ url: server.url }, { url: server.url.replace('rediss', 'redis') }]) {
    await using sampling = sample(address);
    sampling.sampler.add('p', freshKeys());
    await unknown(sampling.sampler, 'Unreachable', /do not agree on TLS \(.*certificate|closes the connection: .*does it want TLS/);
  }
});

test.each([
  ['queue', 'a list'],
  ['result', 'a hash'],
] as const)('a %s key of another type is told and not touched; %s is known again', async (which, wanted) => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.set(keys[which], 'text');
  await using sampling = sample(server.address);
  const { sampler } = sampling;
  sampler.add('p', keys);
  sampler.add('other', freshKeys());
  await unknown(sampler, 'WrongKeyType', new RegExp(`^the key "${keys[which]}" is not ${wanted}`));
  await known(sampler, 'other', { waiting: 0 });
  expect(await redis.get(keys[which])).toBe('text');
  await redis.del(keys[which]);
  await known(sampler, 'p', { waiting: 0 });
});

test('a worker whose lease is over is recovered', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a');
  const worker = await startHandWorker(redis, keys);
  await worker.turn({ want: 1 });
  await using sampling = sample(server.address);
  sampling.sampler.add('p', keys);
  await known(sampling.sampler, 'p', { inFlight: 1 });
  await redis.zadd(keys.workers, 1, worker.id);
  await known(sampling.sampler, 'p', { inFlight: 0, waiting: 1, counters: { recovered: 1 } });
  expect(sampling.log.join()).toMatch(new RegExp(`${worker.id}.*lost its lease`));
});

test('removed, a queue is not looked at any more; added with other keys, the new ones are', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const [old, fresh] = [freshKeys(), freshKeys()];
  await redis.lpush(fresh.queue, 'a');
  await using sampling = sample(server.address);
  const { sampler, seen } = sampling;
  sampler.add('p', old);
  await known(sampler, 'p', { waiting: 0 });
  sampler.add('p', fresh);
  await known(sampler, 'p', { waiting: 1 });
  sampler.remove('p');
  const before = seen.length;
  await new Promise((resolve) => void setTimeout(resolve, 150));
  expect(seen.length).toBe(before);
  expect(sampler.latest('p').kind).toBe('unknown');
});

test('cut connections are noticed and come back', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const redis = server.client();
  const keys = freshKeys();
  await using sampling = sample({ url: `redis://127.0.0.1:${proxy.port}` });
  const { sampler, seen } = sampling;
  sampler.add('p', keys);
  await known(sampler, 'p', { waiting: 0 });
  for (let i = 1; i <= 3; i++) {
    proxy.cut();
    await redis.lpush(keys.queue, 'a');
    await known(sampler, 'p', { waiting: i });
  }
  // what it says in between is for people
  for (const { sampled } of seen)
    if (sampled.kind === 'unknown') expect(sampled.why).not.toMatch(/stream|offline queue/i);
});

test('the hub: one sampler per address, closed with its last user', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const opened: RedisAddress[] = [];
  await using hub = createRedisHub((address) => {
    opened.push(address);
    return createSampler({ address, onSample: () => undefined, log: pino({ level: 'silent' }) });
  });
  const { address } = server;
  const one = hub.use('one', address);
  one.add('one', freshKeys());
  expect(hub.use('two', { ...address })).toBe(one);
  expect(hub.use('one', { ...address })).toBe(one);
  const other = hub.use('three', { ...address, url: `${server.url}/1` });
  expect(other).not.toBe(one);
  expect(hub.size).toBe(2);
  // a pool that moves to another address lets go of the old one
  expect(hub.use('three', address)).toBe(one);
  expect(hub.size).toBe(1);
  hub.release('one');
  hub.release('two');
  hub.release('three');
  hub.release('three');
  expect(hub.size).toBe(0);
  expect(opened).toHaveLength(2);
  await eventually(async () => expect(String(await redis.client('LIST')).trim().split('\n')).toHaveLength(1));
  expect(hub.use('one', address)).not.toBe(one);
});
