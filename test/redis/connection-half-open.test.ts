/**
 * Connections that carry nothing any more and do not say so, as when a router forgot them: each part finds that out by
 * itself and works again. Side by side, because all of it is waiting for time limits.
 */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { openQueue } from '../../queue/queue.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { openKeyWatch } from '../../queue/watch.ts';
import run from '../fixtures/tasks.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { known, sample } from '../support/sampling.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcpproxy.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, startWorker } from '../support/workers.ts';

const PATIENT_MS = 60_000;

/** Breaks all connections; those that take their place fall silent once the server has the beginning of their handshakes. */
async function silenceHandshakes(proxy: TcpProxy, admin: Redis, begun: readonly RegExp[]): Promise<void> {
  proxy.stall('replies');
  proxy.cut();
  await eventually(async () => {
    const clients = String(await admin.client('LIST'));
    for (const one of begun) expect(clients).toMatch(one);
  });
  proxy.swallow();
  proxy.resume();
}

const through = (proxy: TcpProxy): RedisAddress => ({ url: `redis://127.0.0.1:${proxy.port}` });

test.concurrent('a worker: what its dead blocking move takes is adopted later, not lost', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const redis = server.client();
  const keys = freshKeys();
  await using worker = startWorker({ address: through(proxy) }, keys, { handler: run });
  await worker.ready();
  await eventually(async () => expect(String(await redis.client('LIST'))).toContain('cmd=blmove'));
  proxy.swallow();
  await redis.lpush(keys.queue, 'a', 'b');
  expect(await resultsOf(redis, keys.result, 2, PATIENT_MS)).toEqual({ a: 'a', b: 'b' });
  await eventually(async () =>
    expect((await sampleQueue(redis, keys)).counters).toMatchObject({ taken: 2, completed: 2, recovered: 0 }),
  );
});

test.concurrent('a KeyWatch: both of its connections', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const writer = server.client();
  const notices: (readonly string[] | undefined)[] = [];
  await using watch = await openKeyWatch(through(proxy), (keys) => void notices.push(keys));
  proxy.swallow();
  await eventually(() => expect(notices).toContain(undefined), { withinMs: PATIENT_MS });
  await eventually(async () => {
    await watch.reader.llen('a');
    notices.length = 0;
    await writer.lpush('a', 'x');
    await eventually(() => expect(notices).toContainEqual(['a']), { withinMs: 500 });
  });
});

test.concurrent('a KeyWatch: both of its connections, before they are ready', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const admin = server.client();
  const notices: (readonly string[] | undefined)[] = [];
  const hear = (keys: readonly string[] | undefined): void => void notices.push(keys);
  await using watch = await openKeyWatch(through(proxy), hear, PATIENT_MS);
  await silenceHandshakes(proxy, admin, [/ cmd=hello /, / name=millrace-watch:.* cmd=client/]);
  expect(watch.armed).toBe(false);
  await eventually(() => expect(watch.armed).toBe(true), { withinMs: PATIENT_MS });
  await eventually(async () => {
    await watch.reader.llen('a');
    await admin.lpush('a', 'x');
    await eventually(() => expect(notices).toContainEqual(['a']), { withinMs: 500 });
  });
});

test.concurrent('a worker: the connection on which it waits, before it is ready', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const admin = server.client();
  const keys = freshKeys();
  await using worker = startWorker({ address: through(proxy) }, keys, { handler: run });
  await worker.ready();
  const clients = async (): Promise<string> => String(await admin.client('LIST'));
  await eventually(async () => expect(await clients()).toContain('cmd=blmove'));
  await silenceHandshakes(proxy, admin, [/( name=millrace:.* cmd=client[^]*){2}/]);
  expect(await clients()).not.toContain('cmd=blmove');
  await eventually(async () => expect(await clients()).toContain('cmd=blmove'));
});

test.concurrent('a long answer on a slow line is no silence: it is asked for once', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port, { repliesPerS: 20_000 });
  const redis = server.client();
  const ids = ['a', 'b', 'c', 'd', 'e'];
  for (const id of ids) await redis.hset('result', id, id.repeat(40_000));
  await using queue = openQueue({ redis: through(proxy) });
  expect(await Promise.all(ids.map((id) => queue.result(id)))).toEqual(ids.map((id) => id.repeat(40_000)));
  // of results and of errors
  expect(await redis.info('commandstats')).toContain('cmdstat_hmget:calls=2,');
});

test.concurrent('a wait for a result', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const redis = server.client();
  await using queue = openQueue({ redis: through(proxy) });
  const coming = queue.result('a', { timeoutMs: PATIENT_MS });
  await eventually(async () => expect(await redis.info('commandstats')).toContain('cmdstat_hmget'));
  proxy.swallow();
  await redis.hset('result', 'a', 'x');
  expect(await coming).toBe('x');
});

test.concurrent('a sampler: unknown meanwhile, never zero', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a');
  await using sampling = sample(through(proxy));
  const { sampler, seen } = sampling;
  sampler.add('p', [keys]);
  await known(sampler, 'p', { waiting: 1 });
  proxy.swallow();
  await eventually(() => expect(sampler.latest('p').kind).toBe('unknown'), { withinMs: PATIENT_MS });
  await eventually(() => expect(sampler.latest('p').kind).toBe('known'), { withinMs: PATIENT_MS });
  for (const { sampled } of seen) if (sampled.kind === 'known') expect(sampled.sample.waiting).toBe(1);
});

test.concurrent('an enqueue that gets no answer is sent again on a new connection', async () => {
  await using server = await startRedis();
  await using proxy = await startTcpProxy(server.port);
  const redis = server.client();
  const { queue: name, result } = freshKeys();
  await using queue = openQueue({ redis: through(proxy), queue: name, result });
  await queue.enqueue('a');
  proxy.swallow();
  await queue.enqueue('b');
  expect(await redis.lrange(name, 0, -1)).toEqual(['b', 'a']);
});
