/** A server that may evict tasks is warned of by whoever connects to it; one that cannot is not. */
import { expect, test } from 'vitest';
import { describeRisk, evictionRisk } from '../../queue/connection/eviction.ts';
import run from '../fixtures/tasks.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { sample } from '../support/sampling.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

const CACHE = ['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru'];
const WARNING =
  /^Redis evicts keys when its memory is full \(maxmemory 64\.00M, maxmemory-policy allkeys-lru\): tasks and results can be lost; set maxmemory-policy to noeviction$/;

test('only a policy that may take keys without a time to live, and only with a limit', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const risk = async (maxmemory: string, policy: string): Promise<string | undefined> => {
    await redis.config('SET', 'maxmemory', maxmemory, 'maxmemory-policy', policy);
    const found = await evictionRisk(redis);
    return found && describeRisk(found);
  };
  for (const policy of ['noeviction', 'volatile-lru', 'volatile-ttl'])
    expect(await risk('64mb', policy)).toBeUndefined();
  expect(await risk('0', 'allkeys-lru')).toBeUndefined();
  expect(await risk('64mb', 'allkeys-lru')).toMatch(WARNING);
  expect(await risk('64mb', 'allkeys-random')).toMatch(/maxmemory-policy allkeys-random/);
  // a server that tells this user nothing
  await redis.call('ACL', 'SETUSER', 'default', '-info');
  expect(await evictionRisk(redis)).toBeUndefined();
});

test('a worker reports it when it connects', async () => {
  await using server = await startRedis({ args: CACHE });
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler: run });
  const warned = (): string[] => worker.log.filter(({ level }) => level === 'error').map(({ msg }) => msg);
  await eventually(() => expect(warned()).toEqual([expect.stringMatching(WARNING)]));
});

test('the sampler reports it, notices when it changes, and reads its queues again', async () => {
  await using server = await startRedis({ args: CACHE });
  const redis = server.client();
  await using sampling = sample(server.address, { evictionMs: 20, pollMs: 600_000 });
  const { sampler, seen } = sampling;
  sampler.add('p', [freshKeys()]);
  await eventually(() => expect(sampler.evictionRisk).toMatch(WARNING));
  await eventually(() => expect(seen).not.toHaveLength(0));
  const looks = seen.length;
  await redis.config('SET', 'maxmemory-policy', 'noeviction');
  await eventually(() => expect(sampler.evictionRisk).toBeUndefined());
  await eventually(() => expect(seen.length).toBeGreaterThan(looks));
});
