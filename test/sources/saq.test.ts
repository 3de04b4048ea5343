/** What only SAQ does: its records name the worker at their end, and only while the job runs. */
import { expect, test } from 'vitest';
import { createAsk } from '../../queue/sources/ask.ts';
import { readSource } from '../../queue/sources/read.ts';
import { workerIn } from '../../queue/sources/saq.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { saqCase } from './saq.ts';

test.each<[string, string | undefined]>([
  ['…"status": "active", "worker_id": "pod-1"}', 'pod-1'],
  ['…"status": "active", "meta": {"a": 1}, "worker_id": "pod-1"}', 'pod-1'],
  ['…"status": "active", "meta": {"status": "done", "b": {}}, "worker_id": "pod-1"}', 'pod-1'],
  [
    '{"kwargs": {"status": "active"}, "status": "queued", "meta": {"status": "active"}, "worker_id": "pod-1"}',
    undefined,
  ],
  // taken again, and the record is still that of the attempt before
  ['…"status": "queued", "worker_id": "pod-1"}', undefined],
  // not of SAQ's own: what a client keeps with the job
  ['…"status": "active", "meta": {"worker_id": "pod-1"}}', undefined],
  ['{"function": "send"}', undefined],
  ['', undefined],
])('the worker in %s is %s', (tail, worker) => {
  expect(workerIn(tail)).toBe(worker);
});

test('a job that names no worker may be held by any, and large arguments do not hide who holds one', async () => {
  await using server = await startRedis();
  await using library = await saqCase.open(server);
  const redis = server.client();
  const source = sourceOf(saqCase.settings);
  await library.work('pod-1');
  await library.push(1);
  await eventually(async () =>
    expect((await readSource(redis, source, 0)).sample).toMatchObject({ waiting: 0, inFlight: 1 }),
  );
  const found = async (): Promise<unknown> =>
    source.holding.by === 'worker' ? await source.holding.readWorkers(createAsk(redis), redis) : undefined;
  const one = { id: 'pod-1', hosts: ['pod-1'] };
  await eventually(async () =>
    expect(await found()).toEqual({ workers: [{ ...one, tasks: 1 }], unnamed: 0, complete: true }),
  );
  const [job = ''] = await redis.lrange('saq:mail:active', 0, 0);
  const record = (await redis.get(job)) ?? '';
  await redis.set(job, record.replace('{', `{"kwargs": {"text": "${'x'.repeat(100_000)}"}, `));
  expect(await found()).toEqual({ workers: [{ ...one, tasks: 1 }], unnamed: 0, complete: true });
  await redis.set(job, 'not of SAQ');
  expect(await found()).toEqual({ workers: [{ ...one, tasks: 0 }], unnamed: 1, complete: true });
});
