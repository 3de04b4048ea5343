/**
 * Connections that carry nothing any more and do not say so, as when a router forgot them: each part finds that out by
 * itself and works again. Side by side, because all of it is waiting for time limits.
 */
import { expect, test } from 'vitest';
import type { RedisAddress } from '../../queue/connection.ts';
import { openQueue } from '../../queue/queue.ts';
import { sampleQueue } from '../../queue/sample.ts';
import { openKeyWatch } from '../../queue/watch.ts';
import run from '../fixtures/tasks.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { known, sample } from '../support/sampling.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcpproxy.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, startWorker } from '../support/workers.ts';

const PATIENT_MS = 15_000;

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
