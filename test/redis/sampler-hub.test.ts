/** The hub of samplers: who shares a connection, and when it is closed. */
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createRedisHub } from '../../controller/connect/redis-hub.ts';
import { createSampler } from '../../controller/sample/sampler.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';

test('the hub: one sampler per address, closed with its last user', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const opened: RedisAddress[] = [];
  await using hub = createRedisHub((address) => {
    opened.push(address);
    return createSampler({ address, onSample: () => undefined, log: pino({ level: 'silent' }) });
  });
  const { address } = server;
  const one = hub.use('one', address);
  one.add('one', [freshKeys()]);
  expect(hub.use('two', { ...address })).toBe(one);
  expect(hub.use('one', { ...address })).toBe(one);
  const other = hub.use('three', { ...address, url: `${server.url}/1` });
  expect(other).not.toBe(one);
  expect(hub.size).toBe(2);
  // a pool that moves to another address lets go of the old one
  expect(hub.use('three', address)).toBe(one);
  expect(hub.size).toBe(1);
  hub.release('one');
  hub.release('two');
  hub.release('three');
  hub.release('three');
  expect(hub.size).toBe(0);
  expect(opened).toHaveLength(2);
  await eventually(async () =>
    expect(
      String(await redis.client('LIST'))
        .trim()
        .split('\n'),
    ).toHaveLength(1),
  );
  expect(hub.use('one', address)).not.toBe(one);
});
