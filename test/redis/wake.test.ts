/** The wake on a real Redis, in each of its modes: a push into an idle queue is noticed immediately. */
import { expect, test } from 'vitest';
import { pino } from 'pino';
import { createWake, type Wake, type WakeOptions } from '../../controller/sample/wake.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { eventually, sooner, throughout } from '../support/eventually.ts';
import { calls, startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys } from '../support/turns.ts';

interface Listening extends AsyncDisposable {
  readonly wake: Wake;
  readonly heard: (string | undefined)[];
  readonly log: string[];
}

function listen(address: RedisAddress, options: Partial<WakeOptions> = {}): Listening {
  const heard: (string | undefined)[] = [];
  const log: string[] = [];
  const sink = { write: (line: string) => void log.push(line) };
  const onWake = (queue: string | undefined): void => void heard.push(queue);
  const wake = createWake({ address, log: pino({}, sink), onWake, ...options });
  return { wake, heard, log, [Symbol.asyncDispose]: () => wake[Symbol.asyncDispose]() };
}

const inMode = (wake: Wake, mode: string): Promise<void> => eventually(() => expect(wake.mode).toBe(mode));

const moves = async (server: RedisServer): Promise<number> => {
  const list = String(await server.client().client('LIST'));
  return list.split('\n').filter((line) => line.includes('cmd=blmove')).length;
};

test('Tracking: a push and a delayed task are notified, once each, in milliseconds', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using listening = listen(server.address);
  const { wake, heard } = listening;
  await inMode(wake, 'Tracking');
  const [one, two] = [freshKeys(), freshKeys()];
  expect(await wake.arm(one)).toEqual({ waiting: 0, delayed: 0 });
  expect(await wake.arm(two)).toEqual({ waiting: 0, delayed: 0 });
  heard.length = 0;
  // what is heard of a push comes of nothing but the push: nobody has looked at the queue in between
  const before = await calls(redis, 'llen');
  await redis.lpush(one.queue, 'a');
  await eventually(() => expect(heard).toEqual([one.queue]), { everyMs: 1 });
  expect(await calls(redis, 'llen')).toBe(before);
  await sooner(50, async () => {
    await redis.del(one.queue);
    await wake.arm(one);
    heard.length = 0;
    const pushed = performance.now();
    await redis.lpush(one.queue, 'a');
    await eventually(() => expect(heard).toEqual([one.queue]), { everyMs: 1 });
    return performance.now() - pushed;
  });
  await redis.lpush(one.queue, 'b');
  await redis.zadd(two.delayed, 1, 'x');
  await eventually(() => expect(heard).toEqual([one.queue, two.queue]));
  expect(await wake.arm(one)).toEqual({ waiting: 2, delayed: 0 });
  expect(await wake.arm(two)).toEqual({ waiting: 0, delayed: 1 });
  expect(await redis.lrange(one.queue, 0, -1)).toEqual(['b', 'a']);
});

test('Tracking: 1,000 queues on the same two connections', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using listening = listen(server.address);
  const { wake, heard } = listening;
  await inMode(wake, 'Tracking');
  const all = Array.from({ length: 1_000 }, freshKeys);
  await Promise.all(all.map((keys) => wake.arm(keys)));
  const clients = String(await redis.client('LIST'))
    .trim()
    .split('\n');
  expect(clients).toHaveLength(3);
  heard.length = 0;
  await Promise.all(all.map((keys) => redis.lpush(keys.queue, 'a')));
  await eventually(() => expect(new Set(heard).size).toBe(1_000));
});

test('Tracking: after lost connections, a restart and FLUSHALL everything has to be armed again', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const redis = server.client();
  await using listening = listen({ url: `redis://127.0.0.1:${proxy.port}` });
  const { wake, heard } = listening;
  await inMode(wake, 'Tracking');
  const keys = freshKeys();
  const faults = [async () => proxy.cut(), () => server.restart(), () => redis.flushall()];
  for (const fault of faults) {
    heard.length = 0;
    await wake.arm(keys);
    await fault();
    await eventually(() => expect(heard).toContain(undefined));
    await inMode(wake, 'Tracking');
    await eventually(async () => {
      await redis.del(keys.queue);
      await wake.arm(keys);
      heard.length = 0;
      await redis.lpush(keys.queue, 'a');
      await eventually(() => expect(heard).toContain(keys.queue), { withinMs: 300 });
    });
    await redis.del(keys.queue);
  }
});

test('while the server is away it is Polling, and Tracking once it is there', async () => {
  await using server = await startRedis();
  await server.kill();
  await using listening = listen(server.address);
  const { wake, heard, log } = listening;
  expect(wake.mode).toBe('Polling');
  expect(await wake.arm(freshKeys())).toBeUndefined();
  await server.start();
  await inMode(wake, 'Tracking');
  expect(heard).toContain(undefined);
  expect(log).toEqual([]);
});

test('a user who may not track: BlockingPeek, which is reported, notices pushes and takes nothing', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await redis.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', '-client|tracking');
  const address = { url: server.url, username: 'app', password: 'secret' };
  await using listening = listen(address);
  const { wake, heard, log } = listening;
  await inMode(wake, 'BlockingPeek');
  expect(heard).toEqual([undefined]);
  expect(log.join()).toMatch(/no client tracking/);
  const keys = freshKeys();
  await wake.arm(keys);
  await wake.arm(keys);
  await eventually(async () => expect(await moves(server)).toBe(1));
  heard.length = 0;
  await redis.lpush(keys.queue, 'a', 'b');
  await eventually(() => expect(heard).toEqual([keys.queue]));
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['b', 'a']);
  await eventually(async () => expect(await moves(server)).toBe(0));
  // forgotten, it leaves no connection; and it may be armed anew
  await redis.del(keys.queue);
  await wake.arm(keys);
  await eventually(async () => expect(await moves(server)).toBe(1));
  wake.forget(keys);
  await eventually(async () => expect(await moves(server)).toBe(0));
});

test('BlockingPeek: a lost connection is not the end of it, and another type is left alone', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using listening = listen(server.address, { mode: 'BlockingPeek' });
  const { wake, heard } = listening;
  const keys = freshKeys();
  await wake.arm(keys);
  await eventually(async () => expect(await moves(server)).toBe(1));
  await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await eventually(async () => {
    await wake.arm(keys); // the safety poll does
    expect(await moves(server)).toBe(1);
  });
  await redis.lpush(keys.queue, 'a');
  await eventually(() => expect(heard).toContain(keys.queue));

  await redis.set('text', 'not a list');
  await wake.arm({ ...keys, queue: 'text' });
  await throughout(100, () => expect(wake.mode).toBe('BlockingPeek'));
  expect(await redis.get('text')).toBe('not a list');
});

test('a user who may do neither: Polling, which is reported', async () => {
  await using server = await startRedis();
  const rules = ['~*', '&*', '+@all', '-client|tracking', '-blmove'];
  await server.client().call('ACL', 'SETUSER', 'app', 'on', '>secret', ...rules);
  await using listening = listen({ url: server.url, username: 'app', password: 'secret' });
  const { wake, log } = listening;
  await inMode(wake, 'BlockingPeek');
  await wake.arm(freshKeys());
  await inMode(wake, 'Polling');
  expect(log.join()).toMatch(/no blocking peek either/);
  expect(await wake.arm(freshKeys())).toBeUndefined();
});

test('a refusal that is mended: Tracking again, no move stays blocked, and a push is noticed', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await redis.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', '-client|tracking');
  const address = { url: server.url, username: 'app', password: 'secret' };
  await using listening = listen(address, { refusedPauseMs: 50 });
  const { wake, heard, log } = listening;
  await inMode(wake, 'BlockingPeek');
  const keys = freshKeys();
  await wake.arm(keys);
  await eventually(async () => expect(await moves(server)).toBe(1));
  expect(log.filter((line) => line.includes('no client tracking'))).toHaveLength(1);
  heard.length = 0;
  await redis.call('ACL', 'SETUSER', 'app', '+client|tracking');
  await inMode(wake, 'Tracking');
  expect(heard).toContain(undefined);
  await eventually(async () => expect(await moves(server)).toBe(0));
  expect(await wake.arm(keys)).toEqual({ waiting: 0, delayed: 0 });
  await redis.lpush(keys.queue, 'a');
  await eventually(() => expect(heard).toContain(keys.queue));
});
