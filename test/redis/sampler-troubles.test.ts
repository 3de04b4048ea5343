/** The sampler without a sample: it reports why, never returns a zero, and recovers by itself. */
import { expect, test } from 'vitest';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { known, sample, unknown } from '../support/sampling.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys } from '../support/turns.ts';

test.concurrent('a server that is away is unknown and never zero; it is known again without a restart', async () => {
  await using server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a', 'b');
  await using sampling = sample(server.address);
  const { sampler, seen } = sampling;
  sampler.add('p', [keys]);
  await known(sampler, 'p', { waiting: 2 });
  await server.kill();
  await unknown(
    sampler,
    'Unreachable',
    /^Redis at 127\.0\.0\.1:\d+\/?\d* refuses connections: is it running/,
  );
  await server.start();
  await known(sampler, 'p', { waiting: 2 });
  for (const { sampled } of seen)
    if (sampled.kind === 'known') expect(sampled.sample.waiting).toBe(2);
    else expect(sampled.why).toMatch(/refuses connections|closes the connection|did not answer/);
});

test.concurrent('a server that does not answer is unknown too, and known when it does again', async () => {
  await using server = await startRedis();
  const keys = freshKeys();
  await server.client().lpush(keys.queue, 'a');
  await using sampling = sample(server.address);
  const { sampler } = sampling;
  sampler.add('p', [keys]);
  await known(sampler, 'p', { waiting: 1 });
  server.stop();
  await unknown(sampler, 'Unreachable', /did not answer in time/);
  server.cont();
  await known(sampler, 'p', { waiting: 1 });
});

test.concurrent('a server that is still loading its data is reported as what it is, and known when it has', async () => {
  // a pause for each key when it is read
  const slowly = ['--key-load-delay', '60000', '--loading-process-events-interval-bytes', '1024'];
  await using server = await startRedis({ args: ['--save', '3600 1000000', ...slowly] });
  const keys = freshKeys();
  const redis = server.client();
  await redis.lpush(keys.queue, 'a');
  await redis.mset(
    Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`filler ${i}`, 'x'.repeat(100)])),
  );
  await server.terminate();
  const starting = server.start();
  const probe = openRedis(server.address, { enableReadyCheck: false });
  await using sampling = sample(server.address);
  const { sampler, seen } = sampling;
  try {
    await expect(probe.get('filler 1')).rejects.toThrow('LOADING');
    sampler.add('p', [keys]);
    await unknown(
      sampler,
      'Unreachable',
      /^Redis at 127\.0\.0\.1:\d+\/?\d* is still loading its data: it answers once that is done$/,
    );
  } finally {
    await probe.config('SET', 'key-load-delay', '0');
    await closeRedis(probe);
  }
  await starting;
  await known(sampler, 'p', { waiting: 1 });
  for (const { sampled } of seen) if (sampled.kind === 'unknown') expect(sampled.why).not.toMatch(/TLS/);
});

test.concurrent('a wrong password is reported; when the server accepts it, work resumes without a restart', async () => {
  await using server = await startRedis({ password: 'right' });
  const redis = server.client();
  const keys = freshKeys();
  await using sampling = sample({ url: server.url, password: 'wrong' });
  const { sampler } = sampling;
  sampler.add('p', [keys]);
  await unknown(sampler, 'Unreachable', /refuses the user name or password/);
  await redis.config('SET', 'requirepass', 'wrong');
  await known(sampler, 'p', { waiting: 0 });
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  await redis.config('SET', 'requirepass', 'right');
});

test.concurrent('a missing database is reported, and no other one is sampled', async () => {
  await using server = await startRedis({ args: ['--databases', '2'] });
  const keys = freshKeys();
  await server.client().lpush(keys.queue, 'of somebody else');
  await using sampling = sample({ url: `${server.url}/2` });
  sampling.sampler.add('p', [keys]);
  await unknown(sampling.sampler, 'Unreachable', /has no database 2: it has fewer of them/);
});

test.concurrent('a TLS mismatch is reported', async () => {
  await using server = await startRedis({ tls: 'server' });
  for (const address of [{ url: server.url }, { url: server.url.replace('rediss', 'redis') }]) {
    await using sampling = sample(address);
    sampling.sampler.add('p', [freshKeys()]);
    await unknown(
      sampling.sampler,
      'Unreachable',
      /do not agree on TLS \(.*certificate|closes the connection: .*does it want TLS/,
    );
  }
});

test.concurrent.each([
  ['queue', 'a list'],
  ['result', 'a hash'],
] as const)('a %s key of another type is told and not touched; %s is known again', async (which, wanted) => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.set(keys[which], 'text');
  await using sampling = sample(server.address);
  const { sampler } = sampling;
  sampler.add('p', [keys]);
  sampler.add('other', [freshKeys()]);
  await unknown(sampler, 'WrongKeyType', new RegExp(`^the key "${keys[which]}" is not ${wanted}`));
  await known(sampler, 'other', { waiting: 0 });
  expect(await redis.get(keys[which])).toBe('text');
  await redis.del(keys[which]);
  await known(sampler, 'p', { waiting: 0 });
});

test.concurrent('cut connections are noticed and come back', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const redis = server.client();
  const keys = freshKeys();
  await using sampling = sample({ url: `redis://127.0.0.1:${proxy.port}` });
  const { sampler, seen } = sampling;
  sampler.add('p', [keys]);
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

test.concurrent('a slow server is reported with its latency, which a lost connection resets', async () => {
  await using server = await startRedis({ password: 'secret' });
  const keys = freshKeys();
  await using sampling = sample({ url: server.url, password: 'secret' }, { pollMs: 20 });
  const { sampler } = sampling;
  sampler.add('p', [keys]);
  const roundTripMs = (): number => sampler.latest('p').redis?.roundTripMs ?? Number.NaN;
  await eventually(() => expect(roundTripMs()).toBeGreaterThan(0));
  expect(sampler.latest('p').redis?.server).toBe(`127.0.0.1:${server.port}`);

  const pauses = server.client();
  await eventually(
    async () => {
      await pauses.client('PAUSE', 400, 'ALL');
      expect(roundTripMs()).toBeGreaterThan(250);
    },
    { everyMs: 1 },
  );
  await server.kill();
  await unknown(sampler, 'Unreachable', /refuses connections/);
  expect(sampler.latest('p').redis).toBeUndefined();
});

test.concurrent('with a full table of tracked keys, idle queues are read about as often as by polling', async () => {
  await using server = await startRedis({ args: ['--tracking-table-max-keys', '10'] });
  const redis = server.client();
  const times = { pollMs: 500, safetyMs: 600_000 };
  await using tracking = sample(server.address, times);
  await using polling = sample(server.address, { ...times, wakeMode: 'Polling' });
  const queues = Array.from({ length: 20 }, () => freshKeys());
  for (const { sampler } of [tracking, polling]) {
    for (const [i, keys] of queues.entries()) sampler.add(`p${i}`, [keys]);
    for (const i of queues.keys()) {
      await known(sampler, `p${i}`, { waiting: 0 });
      sampler.setActive(`p${i}`, false, 0);
    }
  }
  const { sampler } = tracking;
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  // once it is known that the server's word means nothing; without that rule there are thousands of reads for each poll
  await eventually(async () => {
    const before = [tracking.seen.length, polling.seen.length];
    await eventually(() => expect(polling.seen.length).toBeGreaterThanOrEqual((before[1] ?? 0) + 80));
    expect(tracking.seen.length - (before[0] ?? 0)).toBeLessThan(
      3 * (polling.seen.length - (before[1] ?? 0)),
    );
  });
  await redis.lpush(queues[0]?.queue ?? '', 'task');
  await known(sampler, 'p0', { waiting: 1 });
});
