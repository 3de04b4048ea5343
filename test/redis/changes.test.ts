/** What a worker at rest listens to, for a user who may not track keys at first. */
import { expect, test } from 'vitest';
import { createQueueChanges } from '../../queue/changes.ts';
import { createHashWatches } from '../../queue/results/result-watches.ts';
import { eventually } from '../support/eventually.ts';
import { calls, startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';

const PAUSE_MS = 50;

/** A user who may not track keys. */
async function deaf(server: RedisServer) {
  await server
    .client()
    .call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', '-client|tracking');
  return { url: server.url, username: 'app', password: 'secret' };
}

test('a worker listens once the rights of its user are mended', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const address = await deaf(server);
  await using changes = createQueueChanges({ address, pingEveryMs: 5_000, refusedPauseMs: PAUSE_MS });
  const keys = freshKeys();
  let changed = 0;
  const listen = () => changes.listen(keys, 'w', () => changed++);
  expect(await listen()).toBeUndefined();
  await redis.call('ACL', 'SETUSER', 'app', '+client|tracking');
  await eventually(async () => expect(await listen()).toMatchObject({ sound: true }));
  await redis.lpush(keys.queue, 'a');
  await eventually(() => expect(changed).toBe(1));
});

test('a refusal is not asked for again before its time', async () => {
  await using server = await startRedis();
  const address = await deaf(server);
  await using changes = createQueueChanges({ address, pingEveryMs: 5_000 });
  for (let i = 0; i < 5; i++) expect(await changes.listen(freshKeys(), 'w', () => undefined)).toBeUndefined();
  const stats = await server.client().info('commandstats');
  expect(stats).toMatch(/client\|tracking:.*rejected_calls=1\b/);
});

test('a client that waits for results tracks them once it may', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const address = await deaf(server);
  const { result, errors } = freshKeys();
  const place = (key: string) => ({ key, address, redis });
  await using watches = createHashWatches(place(result), place(errors), () => undefined, PAUSE_MS);
  expect(await watches.open()).toBeUndefined();
  await redis.call('ACL', 'SETUSER', 'app', '+client|tracking');
  const opened = await eventually(async () => {
    const found = await watches.open();
    expect(watches.report(found)).toBe(true);
    return found;
  });
  await watches.read(opened, ['id']);
  expect(await calls(redis, 'hmget')).toBe(2);
});
