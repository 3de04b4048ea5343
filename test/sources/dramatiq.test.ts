/** What only Dramatiq does: due times are inside of its messages, of which not all are read. */
import { expect, test } from 'vitest';
import { dueIn } from '../../queue/sources/dramatiq.ts';
import { readSource } from '../../queue/sources/read.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { startRedis } from '../support/redis.ts';

const source = sourceOf({ dramatiq: { queues: ['mail'] } });
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
