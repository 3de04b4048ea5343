/** Credentials that change under open connections: of Redis, and of sentinels. */
import { expect, test } from 'vitest';
import type { RedisCredentials } from '../../queue/connection/address.ts';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { credentialsFrom } from '../../queue/connection/credential-files.ts';
import { openQueue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { startOneSentinel } from '../support/sentinel.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

/** Credentials that the test replaces. */
function replaceable(first: RedisCredentials) {
  let now = first;
  return {
    credentials: credentialsFrom(() => now, 5),
    set: (next: RedisCredentials) => void (now = next),
  };
}

const rights = ['on', '~*', '&*', '+@all'];

test('another user: open connections go over to it, and survive the end of the first', async () => {
  await using server = await startRedis();
  const admin = server.client();
  await admin.call('ACL', 'SETUSER', 'first', '>old', ...rights);
  const { credentials, set } = replaceable({ username: 'first', password: 'old' });
  const redis = { url: server.url, username: 'first', password: 'old', credentials };
  const keys = freshKeys();
  await using queue = openQueue({ redis, queue: keys.queue, result: keys.result });
  await using worker = startWorker({ address: redis }, keys, { handler: () => 'ok' });
  await worker.ready();
  const before = await queue.enqueue('before');
  expect(await queue.result(before)).toBe('ok');

  /** The ids of connections by their user; those that wait for notices cannot change theirs. */
  const idsOf = async (user: string): Promise<string[]> => {
    const lines = String(await admin.client('LIST'))
      .trim()
      .split('\n');
    const own = lines.filter((line) => line.includes(` user=${user} `) && !line.includes(' sub=1 '));
    return own.map((line) => /^id=(\d+)/.exec(line)?.[1] ?? '');
  };
  const open = await idsOf('first');
  await admin.call('ACL', 'SETUSER', 'second', '>new', ...rights);
  set({ username: 'second', password: 'new' });
  await eventually(async () => {
    // a connection that waits for tasks answers nothing else meanwhile
    await queue.enqueue('wake');
    expect(await idsOf('first')).toEqual([]);
  });
  expect(await idsOf('second')).toEqual(expect.arrayContaining(open));
  // ends the connections that are left of it
  await admin.call('ACL', 'DELUSER', 'first');
  const after = await queue.enqueue('after');
  expect(await queue.result(after)).toBe('ok');
  expect(await idsOf('second')).toEqual(expect.arrayContaining(open));
  expect(worker.epochs).toBe(1);
});

test('a worker reports that new credentials are refused, and once they are accepted', async () => {
  await using server = await startRedis({ password: 'old' });
  const admin = server.client();
  const { credentials, set } = replaceable({ password: 'old' });
  const keys = freshKeys();
  const address = { ...server.address, credentials };
  await using worker = startWorker({ address }, keys, { handler: () => 'ok' });
  await worker.ready();
  const reported = (event: string): Promise<void> =>
    eventually(() => expect(worker.log.map((line) => line.event)).toContain(event));
  // the Secret comes first, Redis later
  set({ password: 'new' });
  await reported('credentials-refused');
  await admin.lpush(keys.queue, 'meanwhile');
  await eventually(async () => expect(await admin.hget(keys.result, 'meanwhile')).toBe('ok'));
  await admin.config('SET', 'requirepass', 'new');
  await reported('credentials-renewed');
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await admin.lpush(keys.queue, 'after');
  await eventually(async () => expect(await admin.hget(keys.result, 'after')).toBe('ok'));
  expect(worker.epochs).toBe(1);
  await worker.stop();
  await admin.config('SET', 'requirepass', 'old');
});

test('sentinels with a password of their own that is replaced', async () => {
  await using redis = await startRedis({ password: 'secret' });
  await using sentinel = await startOneSentinel({ primary: redis, name: 'main', password: 'own' });
  const { credentials, set } = replaceable({ sentinelPassword: 'own' });
  const address = {
    sentinel: { name: 'main', nodes: [sentinel.node], password: 'own' },
    password: 'secret',
    credentials,
  };
  const client = openRedis(address);
  const asAdmin = openRedis(
    { url: `redis://${sentinel.node}`, password: 'own' },
    { enableReadyCheck: false },
  );
  try {
    await client.set('a', '1');
    await asAdmin.call('ACL', 'SETUSER', 'default', 'resetpass', '>other');
    set({ sentinelPassword: 'other' });
    await redis.client().call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    expect(await client.get('a')).toBe('1');
  } finally {
    await Promise.all([closeRedis(client), closeRedis(asAdmin)]);
  }
});
