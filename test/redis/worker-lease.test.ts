/** A handler that computes without a pause for longer than the lease: its worker keeps the task all the same. */
import { expect, test } from 'vitest';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { reapExpired } from '../../queue/workers/reap.ts';
import { eventually } from '../support/eventually.ts';
import { mountSecret } from '../support/mounted-secret.ts';
import { startRedis, type RedisServerOptions } from '../support/redis.ts';
import { freshKeys, freshQueues } from '../support/turns.ts';
import { resultsOf, spawnWorker } from '../support/workers.ts';

const order = (id: string, parts: object): string => JSON.stringify({ id, ...parts });

test.concurrent.each<[string, RedisServerOptions]>([
  ['plain', {}],
  ['with a password', { password: 'secret' }],
])('its lease is kept while it computes: %s', async (_, options) => {
  await using server = await startRedis(options);
  const redis = server.client();
  const keys = freshKeys();
  const lease = ['--lease', '3s', ...(options.password ? ['--redis-password', options.password] : [])];
  await using busy = await spawnWorker(server, keys, lease);
  await redis.lpush(keys.queue, order('warm', { computeMs: 1 }));
  await resultsOf(redis, keys.result, 1);
  await redis.lpush(keys.queue, order('long', { computeMs: 8_000 }));
  await eventually(async () => expect(await redis.hlen(keys.inflight(busy.id))).toBe(1));
  // somebody who would take over as soon as the lease is over
  await using other = await spawnWorker(server, keys, lease);
  await resultsOf(redis, keys.result, 2);
  expect(await sampleQueue(redis, keys)).toMatchObject({
    inFlight: 0,
    counters: { taken: 2, completed: 2, recovered: 0, fenced: 0 },
  });
  await busy.reports('registered');
  expect(busy.log.filter(({ event }) => event === 'registered')).toHaveLength(1);
  expect(other.log.filter(({ event }) => event === 'lease-ended')).toEqual([]);
  // the connection of the thread is for trouble only
  await eventually(async () => {
    const clients = String(await redis.client('LIST'))
      .trim()
      .split('\n');
    expect(clients.filter((line) => line.includes('cmd=eval '))).toEqual([]);
  });
});

test.concurrent('a worker that is stopped altogether loses its lease as before', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using busy = await spawnWorker(server, keys, ['--lease', '3s']);
  await redis.lpush(keys.queue, order('long', { computeMs: 4_000 }));
  await eventually(async () => expect(await redis.hlen(keys.inflight(busy.id))).toBe(1));
  busy.signal('SIGSTOP');
  await using other = await spawnWorker(server, keys, ['--lease', '3s']);
  await other.reports('lease-ended');
  await resultsOf(redis, keys.result, 1);
  busy.signal('SIGCONT');
  await busy.reports('registered', 2);
  expect(await sampleQueue(redis, keys)).toMatchObject({
    counters: { completed: 1, recovered: 1, fenced: 1 },
  });
});

test.concurrent('a password that is rotated while it computes, and connections that end then', async () => {
  // nobody is let in without a password
  await using server = await startRedis({ password: 'admin' });
  await using secret = await mountSecret({ password: 'old' });
  const redis = server.client();
  const keys = freshKeys();
  await redis.call('ACL', 'SETUSER', 'app', 'on', '>old', '~*', '&*', '+@all');
  const user = ['--redis-username', 'app', '--redis-password-file', secret.path('password')];
  const lease = ['--lease', '3s', ...user];
  await using busy = await spawnWorker(server, keys, lease);
  await redis.lpush(keys.queue, order('warm', { computeMs: 1 }));
  await resultsOf(redis, keys.result, 1);
  const clients = async (): Promise<string> => String(await redis.client('LIST'));
  // of the worker itself, only the first call of a script is one
  await eventually(async () => expect(await clients()).not.toMatch(/cmd=eval /));
  await redis.lpush(keys.queue, order('long', { computeMs: 8_000 }));
  // the thread is at work
  await eventually(async () => expect(await clients()).toMatch(/cmd=eval /));

  await redis.call('ACL', 'SETUSER', 'app', '>new');
  await secret.replace({ password: 'new' });
  await redis.call('ACL', 'SETUSER', 'app', '<old');
  await redis.call('CLIENT', 'KILL', 'USER', 'app');
  // somebody who would take over as soon as the lease is over
  await using other = await spawnWorker(server, keys, lease);
  await resultsOf(redis, keys.result, 2);
  expect(await sampleQueue(redis, keys)).toMatchObject({
    inFlight: 0,
    counters: { taken: 2, completed: 2, recovered: 0, fenced: 0 },
  });
  expect(busy.log.filter(({ event }) => event === 'registered')).toHaveLength(1);
  expect(other.log.filter(({ event }) => event === 'lease-ended')).toEqual([]);
});

test.concurrent('several queues: one thread keeps all their leases over one connection', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const lanes = freshQueues(5);
  const [first] = lanes;
  const queues = JSON.stringify(lanes.map((keys) => keys.queue));
  await using busy = await spawnWorker(server, first, ['--lease', '3s', '--queues', queues]);
  const epochs = (): Promise<(string | null)[]> =>
    Promise.all(lanes.map((keys) => redis.hget(keys.worker(busy.id), 'epoch')));
  await eventually(async () => expect(await epochs()).not.toContain(null));
  const before = await epochs();
  await redis.lpush(first.queue, order('long', { computeMs: 8_000 }));
  await eventually(async () => {
    const renewals = String(await redis.client('LIST')).match(/cmd=eval /g) ?? [];
    expect(renewals).toHaveLength(1);
  });
  await resultsOf(redis, first.result, 1);
  for (const keys of lanes) expect(await reapExpired(redis, keys)).toEqual(new Map());
  expect(await epochs()).toEqual(before);
});
