/** `millrace-worker --http` as a process, between a real Redis and a real server. */
import { expect, test } from 'vitest';
import { openQueue } from '../../queue/queue.ts';
import { startTaskServer } from '../fixtures/task-server.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, spawnProgram } from '../support/workers.ts';

test('it takes no task before its server listens; answers are results, retries and dead letters; cancel ends a request', async () => {
  await using redis = await startRedis();
  const { queue, result } = freshKeys();
  const client = redis.client();
  await using tasks = openQueue({ redis: redis.url, queue, result });
  await tasks.enqueue('early');
  const before = await startTaskServer();
  const { port, url } = before;
  await before[Symbol.asyncDispose]();
  const flags = ['--redis', redis.url, '--queue', queue, '--result', result, '--concurrency', '2'];
  await using worker = spawnProgram([...flags, '--http', url, '--backoff-initial', '10ms']);
  expect(await worker.reports('handler-unreachable')).toMatchObject({
    url,
    reason: expect.stringMatching(/^connect ECONNREFUSED/),
  });
  expect(await client.llen(queue)).toBe(1);

  await using server = await startTaskServer(port);
  expect(await tasks.result('early', { timeoutMs: 60_000 })).toBe('early');
  await tasks.enqueueMany([{ id: 'a', n: 1 }, 'final no such tile', 'later 0']);
  expect(await tasks.result('a', { timeoutMs: 60_000 })).toBe('{"id":"a","n":1}');
  await eventually(async () => expect(await client.llen(tasks.keys.dead)).toBe(2));
  const letters = (await tasks.dead()).map(({ attempts, error }) => ({ attempts, error }));
  expect(letters.toSorted((a, b) => a.attempts - b.attempts)).toEqual([
    { attempts: 1, error: `not to be retried: HttpError: POST ${url} answered 422: no such tile` },
    { attempts: 5, error: `failed 5 of 5 attempts: HttpError: POST ${url} answered 429: busy` },
  ]);
  const sent = server.received.filter(({ body }) => body.toString() === 'later 0');
  expect(sent.map(({ headers }) => headers['millrace-attempt'])).toEqual(['1', '2', '3', '4', '5']);

  await tasks.enqueue('hang');
  await eventually(() => expect(server.received.at(-1)?.body.toString()).toBe('hang'));
  await tasks.cancel('hang');
  await expect(tasks.result('hang', { timeoutMs: 60_000 })).rejects.toThrow(/cancelled/);
  await eventually(() => expect(server.connections.open).toBeLessThan(server.connections.made));
  expect(Object.keys(await resultsOf(client, result, 2)).toSorted()).toEqual(['a', 'early']);
  worker.signal('SIGTERM');
  expect(await worker.ended).toBe(0);
});

test('asked to stop while it waits for its server, it ends immediately', async () => {
  await using redis = await startRedis();
  await using worker = spawnProgram(['--redis', redis.url, '--http', 'http://127.0.0.1:1/run']);
  expect(await worker.reports('handler-unreachable')).toMatchObject({ url: 'http://127.0.0.1:1/run' });
  worker.signal('SIGTERM');
  expect(await worker.ended).toBe(0);
});
