/** Sources in the sampler: who is woken by which key, what is polled instead, and what is reported when there is nothing to read. */
import { expect, test } from 'vitest';
import { wakeOf } from '../../controller/sample/sampler.ts';
import { WakeMode } from '../../controller/sample/wake.ts';
import type { CustomSettings } from '../../queue/sources/custom.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { known, sample, unknown } from '../support/sampling.ts';
import { freshKeys } from '../support/turns.ts';

const list = (...keys: string[]) => sourceOf({ list: { keys } });

test('a key of a source wakes all pools that count it, and none that does not any more', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const queue = { ...freshKeys(), queue: 'shared' };
  await using sampling = sample(server.address, { safetyMs: 3_600_000 });
  const { sampler, woken } = sampling;
  sampler.add('queue', [queue]);
  sampler.add('source', [freshKeys()], list('shared', 'own'));
  sampler.add('gone', [freshKeys()], list('shared'));
  for (const id of ['queue', 'source', 'gone']) sampler.setActive(id, false, 0);
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  for (const id of ['queue', 'source', 'gone']) await known(sampler, id, { waiting: 0 });
  sampler.remove('gone');
  await redis.lpush('shared', 'a');
  await known(sampler, 'queue', { waiting: 1 });
  await known(sampler, 'source', { waiting: 1 });
  expect(woken).not.toContain('gone');
  await redis.del('shared');
  // of another source now: the keys of the one before wake it no more
  sampler.add('source', [freshKeys()], list('other'));
  sampler.setActive('source', false, 0);
  await known(sampler, 'source', { waiting: 0 });
  await redis.lpush('other', 'a', 'b');
  await known(sampler, 'source', { waiting: 2 });
});

test('where keys cannot be tracked, a source is polled, and status says how often', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const source = list('jobs');
  const options = { safetyMs: 3_600_000, wakeMode: WakeMode.BlockingPeek };
  await using sampling = sample(server.address, options);
  const { sampler } = sampling;
  sampler.add('p', [freshKeys()], source);
  sampler.setActive('p', false, 0);
  await known(sampler, 'p', { waiting: 0 });
  expect(wakeOf({ sampler, queues: [], source })).toBe('Polling every 50ms');
  expect(wakeOf({ sampler, queues: [] })).toBe('BlockingPeek');
  await redis.lpush('jobs', 'a');
  await known(sampler, 'p', { waiting: 1 });
});

test('what is not there is reported, and read as soon as it is', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await using sampling = sample(server.address);
  const { sampler } = sampling;
  const blind = (reason: string, why: RegExp): Promise<void> =>
    eventually(() =>
      expect(sampler.latest('p')).toMatchObject({ kind: 'unknown', reason, why: expect.stringMatching(why) }),
    );
  sampler.add('p', [freshKeys()], sourceOf({ bullmq: { queues: ['mail'], prefix: 'bull' } }));
  await blind('SourceNotFound', /^there is no BullMQ queue "mail" here .*; check queues and prefix/);
  await redis.hset('bull:mail:meta', 'version', 'bullmq:3.1.0');
  await blind(
    'SourceUnknownLayout',
    /is of version bullmq:3.1.0, and the layouts of BullMQ 5 and 6 are known/,
  );
  await redis.hset('bull:mail:meta', 'version', 'bullmq:6.7.0');
  await known(sampler, 'p', { waiting: 0 });
  await redis.set('bull:mail:wait', 'x');
  await blind('WrongKeyType', /the key "bull:mail:wait" is not a list/);
  await redis.del('bull:mail:wait');
  // as BullMQ 4 marks an empty queue
  await redis.lpush('bull:mail:wait', '0:0');
  await blind('SourceUnknownLayout', /is of BullMQ 4 or older/);
});

test('a clock of Redis that is set forward adds nothing to how long the tasks of a source have run', async () => {
  await using server = await startRedis({ ownClock: true });
  const redis = server.client();
  await redis.xgroup('CREATE', 'orders', 'g', '0', 'MKSTREAM');
  await redis.xadd('orders', '1-1', 'a', 'b');
  await redis.xadd('orders', '1-2', 'a', 'b');
  await redis.xreadgroup('GROUP', 'g', 'pod-1', 'COUNT', 2, 'STREAMS', 'orders', '>');
  await redis.xack('orders', 'g', '1-1');
  await using sampling = sample(server.address);
  const { sampler } = sampling;
  sampler.add('p', [freshKeys()], sourceOf({ stream: { keys: ['orders'], group: 'g' } }));
  const ranMs = (): number => {
    const latest = sampler.latest('p');
    return latest.kind === 'known' ? latest.sample.counters.serviceUs / 1e3 : 0;
  };
  await eventually(() => expect(ranMs()).toBeGreaterThan(0));
  await server.setClock(3_600_000);
  const before = sampling.seen.length;
  await eventually(() => expect(sampling.seen.length).toBeGreaterThan(before + 2));
  await known(sampler, 'p', { inFlight: 1 });
  expect(ranMs()).toBeLessThan(600_000);
});

test.each<[CustomSettings['waiting'][number], string, RegExp]>([
  [
    { command: 'ZCOUNT', key: 'z', args: ['x', 'y'] },
    'SourceUnknownLayout',
    /^Redis does not execute ZCOUNT z x y; /,
  ],
  [{ command: 'LLEN', key: 'l', args: ['0'] }, 'SourceUnknownLayout', /^Redis does not execute LLEN l 0; /],
  [{ command: 'HGET', key: 'h' }, 'SourceUnknownLayout', /^Redis does not execute HGET h; /],
  [
    { command: 'XPENDING', key: 's', args: ['g'] },
    'SourceNotFound',
    /^there is no such stream .*: XPENDING s g; /,
  ],
])('what Redis cannot execute of a format of your own is quoted: %j', async (waiting, reason, why) => {
  await using server = await startRedis();
  await using sampling = sample(server.address);
  sampling.sampler.add('p', [freshKeys()], sourceOf({ custom: { waiting: [waiting] } }));
  await unknown(sampling.sampler, reason, why);
});
