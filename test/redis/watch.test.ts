/** KeyWatch on a real Redis: it is notified of every first change, even after all that can happen to its connections. */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { openKeyWatch, TrackingRefused, type KeyWatch } from '../../queue/watch.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';

type Notice = readonly string[] | undefined;

/** Reads the key, which arms it, then changes it and waits for the notice. When all was disarmed meanwhile, once more. */
async function expectNotice(watch: KeyWatch, notices: Notice[], writer: Redis, key: string): Promise<void> {
  await eventually(async () => {
    await watch.reader.llen(key);
    const before = notices.length;
    await writer.lpush(key, 'x');
    await eventually(() => expect(notices.slice(before)).toContainEqual([key]), { withinMs: 500 });
  });
}

/** The same where nothing is disarmed: one read, one change, and the next notice. */
async function expectOneNotice(
  watch: KeyWatch,
  notices: Notice[],
  writer: Redis,
  key: string,
): Promise<void> {
  const before = notices.length;
  await watch.reader.llen(key);
  await writer.lpush(key, 'x');
  await eventually(() => expect(notices).toHaveLength(before + 1));
}

const listeners = async (redis: Redis): Promise<string[]> =>
  String(await redis.client('LIST'))
    .split('\n')
    .filter((line) => / sub=1 /.test(line))
    .map((line) => /id=(\d+)/.exec(line)?.[1] ?? '');

test('one notice for each time that a key was read, and none before', async () => {
  await using redis = await startRedis();
  const writer = redis.client();
  const notices: Notice[] = [];
  await using watch = await openKeyWatch(redis.address, (keys) => void notices.push(keys));
  expect(watch.armed).toBe(true);
  await writer.lpush('a', 'x');
  await expectOneNotice(watch, notices, writer, 'a');
  await writer.lpush('a', 'x', 'y');
  await writer.lpush('b', 'x');
  await expectOneNotice(watch, notices, writer, 'a');
  expect(notices).toEqual([['a'], ['a']]);
});

test('FLUSHALL means that any key may have changed', async () => {
  await using redis = await startRedis();
  const writer = redis.client();
  const notices: Notice[] = [];
  await using watch = await openKeyWatch(redis.address, (keys) => void notices.push(keys));
  await expectOneNotice(watch, notices, writer, 'a');
  await watch.reader.llen('a');
  await writer.flushall();
  await eventually(() => expect(notices.at(-1)).toBeUndefined());
  expect(notices).toHaveLength(2);
  await expectNotice(watch, notices, writer, 'a');
});

test.concurrent.each(['listener', 'reader', 'both'])(
  'CLIENT KILL of the %s: linked again, and read all anew',
  async (who) => {
    await using redis = await startRedis();
    const writer = redis.client();
    const notices: Notice[] = [];
    await using watch = await openKeyWatch(redis.address, (keys) => void notices.push(keys));
    const [listener = ''] = await listeners(writer);
    const reader = String(await watch.reader.client('ID'));
    const closed = new Promise((resolve) => void watch.reader.once('close', resolve));
    if (who !== 'reader') await writer.client('KILL', 'ID', listener);
    if (who !== 'listener') {
      await writer.client('KILL', 'ID', reader);
      await closed;
    }
    await eventually(() => {
      expect(notices).toContain(undefined);
      expect(watch.armed).toBe(true);
    });
    await expectNotice(watch, notices, writer, 'a');
  },
);

test('a server that restarts', async () => {
  await using redis = await startRedis();
  const writer = redis.client();
  const notices: Notice[] = [];
  await using watch = await openKeyWatch(redis.address, (keys) => void notices.push(keys));
  await redis.kill();
  await eventually(() => expect(watch.armed).toBe(false));
  await redis.start();
  await eventually(() => expect(watch.armed).toBe(true));
  await eventually(() => expect(notices).toContain(undefined));
  await expectNotice(watch, notices, writer, 'a');
});

test.concurrent.each([
  ['CLIENT TRACKING', '-client|tracking'],
  ['CLIENT', '-client'],
  ['the channel', 'resetchannels'],
])('an ACL that denies %s is a refusal, and leaves no connection', async (_what, rule) => {
  await using redis = await startRedis();
  await redis.client().call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', rule);
  const address = { url: redis.url, username: 'app', password: 'secret' };
  await expect(openKeyWatch(address, () => undefined)).rejects.toThrow(TrackingRefused);
});

test.concurrent('a refusal later on passes', async () => {
  await using redis = await startRedis();
  const admin = redis.client();
  const allow = (...rules: string[]): Promise<unknown> => admin.call('ACL', 'SETUSER', 'app', ...rules);
  await allow('on', '>secret', '~*', '&*', '+@all');
  const notices: Notice[] = [];
  const address = { url: redis.url, username: 'app', password: 'secret' };
  await using watch = await openKeyWatch(address, (keys) => void notices.push(keys));
  await allow('-client|tracking');
  const back = new Promise((resolve) => void watch.reader.once('ready', resolve));
  await admin.client('KILL', 'ID', await watch.reader.client('ID'));
  await back;
  await eventually(async () =>
    expect(await admin.info('commandstats')).toMatch(/client\|tracking:.*rejected_calls=[1-9]/),
  );
  expect(watch.armed).toBe(false);
  await allow('+client|tracking');
  await eventually(() => expect(watch.armed).toBe(true));
  await expectNotice(watch, notices, admin, 'a');
});

test('a server that is away, or a wrong password, is no refusal', async () => {
  await using redis = await startRedis({ password: 'secret' });
  // which it cannot know before the connection was tried, and on a busy machine that takes its time
  for (const [address, why] of [
    [{ url: 'redis://127.0.0.1:1' }, /ECONNREFUSED/],
    [{ url: redis.url, password: 'wrong' }, /WRONGPASS/],
  ] as const)
    await eventually(async () => {
      const refused = openKeyWatch(address, () => undefined, 300);
      await expect(refused).rejects.toThrow(why);
      await expect(refused).rejects.not.toThrow(TrackingRefused);
    });
});

test("two connections that reach different servers find each other again, even if another client has the listener's number there", async () => {
  await using first = await startRedis();
  await using second = await startRedis();
  await using front = await startTcpProxy(first.port);
  const changed: unknown[] = [];
  await using watch = await openKeyWatch(
    { url: `redis://127.0.0.1:${front.port}` },
    (keys) => void changed.push(keys),
  );
  const listener = /^id=(\d+) .* name=millrace-watch:/m.exec(
    String(await first.client().client('LIST')),
  )?.[1];
  // on the next server that number is a stranger's
  const strangers = [];
  do strangers.push(second.client());
  while ((await strangers.at(-1)?.client('ID')) !== Number(listener) && strangers.length < 50);
  front.redirect(second.port);
  await first.client().client('KILL', 'ID', await watch.reader.client('ID'));
  await eventually(() => expect(changed).toContain(undefined));
  await eventually(() => expect(watch.armed).toBe(true));
  await watch.reader.llen('list');
  await second.client().lpush('list', 'a');
  await eventually(() => expect(changed).toContainEqual(['list']));
});
