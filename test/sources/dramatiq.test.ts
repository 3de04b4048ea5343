/** What only Dramatiq does: due times are inside of its messages, of which not all are read. */
import { expect, test } from 'vitest';
import { dueIn } from '../../queue/sources/dramatiq.ts';
import { readSource } from '../../queue/sources/read.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { openDramatiq } from './dramatiq.ts';

const source = sourceOf({ dramatiq: { queues: ['mail'] } });

test('in a namespace of its own, where a wrong one is named', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using library = await openDramatiq(server, 'shop');
  await library.push(3);
  await library.push(1, 3_600_000);
  const shop = sourceOf({ dramatiq: { queues: ['mail'], namespace: 'shop' } });
  await eventually(async () =>
    expect((await readSource(redis, shop, 0)).sample).toMatchObject({
      waiting: 3,
      inFlight: 0,
      delayed: 1,
      due: 0,
    }),
  );
  await library.work('pod-1');
  // no more than one is in hand: it prefetches none
  await eventually(async () =>
    expect((await readSource(redis, shop, 0)).sample).toMatchObject({ waiting: 2, inFlight: 1, delayed: 1 }),
  );
  await expect(readSource(redis, source, 0)).rejects.toMatchObject({
    kind: 'NotFound',
    todo: expect.stringContaining('check source.dramatiq.namespace'),
  });
  await library.release(3);
});

const message = (eta: number, size = 1): string =>
  JSON.stringify({
    queue_name: 'mail.DQ',
    args: ['x'.repeat(size)],
    kwargs: { eta: 5 },
    options: { eta },
    message_id: 'a',
  });

test('the due time is that of the options, and not one among the arguments', () => {
  expect(dueIn(message(1_800_000_000_000))).toBe(1_800_000_000_000);
  expect(dueIn('not of Dramatiq')).toBeUndefined();
});

test.each<[string, number, number, number]>([
  ['all are read', 400, 1, 0],
  ['there are more than are read', 4_000, 1, 1],
  ['they are too large to be read', 100, 100_000, 1],
])('of delayed messages that are not due, where %s', async (_, messages, size, due) => {
  await using server = await startRedis();
  const redis = server.client();
  const pipeline = redis.pipeline();
  const eta = Date.now() + 3_600_000;
  for (let i = 0; i < messages; i++) pipeline.hset('dramatiq:mail.DQ.msgs', `id-${i}`, message(eta, size));
  await pipeline.exec();
  await redis.config('RESETSTAT');
  const { sample } = await readSource(redis, source, 0);
  expect(sample).toMatchObject({ delayed: messages, due, nextDue: eta });
  const [, scans] = /cmdstat_hscan:calls=(\d+)/.exec(await redis.info('commandstats')) ?? [];
  expect(Number(scans)).toBeLessThanOrEqual(6);
});
