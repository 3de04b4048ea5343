/** A worker that Redis refuses: it does not rely on the credentials of its start for ever. */
import { expect, test } from 'vitest';
import { credentialsFrom } from '../../queue/connection/credential-files.ts';
import { patienceWith } from '../../worker/epoch/registration/connection-errors.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';
import { queueKeys } from '../../queue/keys.ts';

const never = (): string => 'never called';

test('a password that was changed ends the worker, with the reason', async () => {
  await using server = await startRedis({ password: 'old' });
  const refused = Promise.withResolvers<string>();
  const worker = startWorker(server, freshKeys(), {
    handler: never,
    refusedMs: 300,
    onRefused: refused.resolve,
  });
  await worker.ready();
  const admin = server.client();
  await admin.config('SET', 'requirepass', 'new');
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  const why = `Redis at 127.0.0.1:${server.port} refuses the user name or password: check passwordFrom and username`;
  expect(await refused.promise).toBe(why);
  await expect(worker.stop()).rejects.toThrow(why);
  expect(worker.log.filter(({ msg }) => msg === why)).toHaveLength(1);
  await admin.config('SET', 'requirepass', 'old');
});

test('a password in a file is read again until the worker is given up, and the file that was replaced too late is no way back', async () => {
  await using server = await startRedis({ password: 'old' });
  const passwords = ['old'];
  const credentials = credentialsFrom(() => ({ password: passwords.at(-1) }), 5);
  expect([patienceWith({ credentials }), patienceWith({})]).toEqual([150_000, 30_000]);
  const refused = Promise.withResolvers<string>();
  const worker = startWorker({ address: { ...server.address, credentials } }, freshKeys(), {
    handler: never,
    refusedMs: 300,
    onRefused: refused.resolve,
  });
  await worker.ready();
  const admin = server.client();
  await admin.config('SET', 'requirepass', 'new');
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  // a file that is replaced by a wrong one is no success
  await eventually(() => expect(worker.log.map(({ event }) => event)).toContain('redis-failed'));
  passwords.push('wrong');
  expect(await refused.promise).toContain('refuses the user name or password');
  passwords.push('new');
  await expect(worker.ended).rejects.toThrow('refuses the user name or password');
  expect(worker.epochs).toBe(1);
  await admin.config('SET', 'requirepass', 'old');
});

test('a database that is not there: it takes nothing from another one, is never ready, and ends', async () => {
  await using server = await startRedis({ args: ['--databases', '2'] });
  const keys = freshKeys();
  const redis = server.client();
  await redis.lpush(keys.queue, "somebody else's");
  const refused = Promise.withResolvers<string>();
  const worker = startWorker({ address: { url: `${server.url}/2` } }, keys, {
    handler: never,
    refusedMs: 300,
    onRefused: refused.resolve,
  });
  expect(await refused.promise).toContain('has no database 2');
  await expect(worker.stop()).rejects.toThrow('has no database 2');
  expect(worker.epochs).toBe(0);
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(["somebody else's"]);
});

test('a Redis Cluster: with keys in several slots it is never ready, and ends; in one slot it works', async () => {
  await using server = await startRedis({ args: ['--cluster-enabled', 'yes'] });
  const redis = server.client();
  await redis.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
  await eventually(async () => expect(await redis.cluster('INFO')).toContain('cluster_state:ok'));
  const refused = Promise.withResolvers<string>();
  const lost = startWorker(server, queueKeys('jobs', 'results'), {
    handler: never,
    refusedMs: 300,
    onRefused: refused.resolve,
  });
  expect(await refused.promise).toContain('is a node of a Redis Cluster, which must be named as one');
  await expect(lost.stop()).rejects.toThrow('Redis Cluster');
  expect(lost.epochs).toBe(0);
  await using worker = startWorker(server, queueKeys('{t}jobs', '{t}results'), { handler: () => 'done' });
  await worker.ready();
  await redis.lpush('{t}jobs', 'a');
  await eventually(async () => expect(await redis.hget('{t}results', 'a')).toBe('done'));
});

test('an idle worker whose connections were cut waits in Redis again as soon as it is back', async () => {
  await using server = await startRedis();
  const keys = freshKeys();
  const redis = server.client();
  const blocked = async (): Promise<string[]> =>
    Array.from(
      String(await redis.client('LIST')).matchAll(/^id=(\d+) .* cmd=blmove /gm),
      ([, id = '']) => id,
    );
  await using worker = startWorker(server, keys, { handler: () => 'done' });
  await worker.ready();
  const before = await eventually(async () => {
    const ids = await blocked();
    expect(ids).toHaveLength(1);
    return ids;
  });
  await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await eventually(async () => {
    const ids = await blocked();
    expect(ids).toHaveLength(1);
    expect(ids).not.toEqual(before);
  });
  await redis.lpush(keys.queue, 'a');
  await eventually(async () => expect(await redis.hget(keys.result, 'a')).toBe('done'));
});
