/** What a server refuses for a while: everything resumes by itself afterwards, and nothing runs twice. */
import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openRedis } from '../../queue/connection/connection.ts';
import { queueKeys } from '../../queue/keys.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { complained, survive } from '../support/troubles.ts';

const once = (runs: ReadonlyMap<string, number>): void =>
  expect([...runs.values()].every((times) => times === 1)).toBe(true);

test('OOM: no memory for more', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const runs = await survive({
    redis,
    address: server.address,
    keys: freshKeys(),
    begin: () => redis.config('SET', 'maxmemory', '1mb'),
    met: async (workers, queue) => {
      await complained(workers, /OOM command not allowed/);
      await expect(queue.enqueue('refused')).rejects.toThrow('OOM');
    },
    end: () => redis.config('SET', 'maxmemory', '0'),
  });
  once(runs);
});

test('MISCONF: the disk takes no snapshot', async () => {
  await using server = await startRedis({ args: ['--save', '3600 1000000'] });
  const redis = server.client();
  const blockade = join(server.dir, 'dump.rdb');
  const saved = (status: string): Promise<void> =>
    eventually(async () =>
      expect(await redis.info('persistence')).toContain(`rdb_last_bgsave_status:${status}`),
    );
  const runs = await survive({
    redis,
    address: server.address,
    keys: freshKeys(),
    begin: async () => {
      await mkdir(blockade);
      await redis.bgsave();
      await saved('err');
    },
    met: async (workers, queue) => {
      await complained(workers, /MISCONF/);
      await expect(queue.enqueue('refused')).rejects.toThrow('MISCONF');
    },
    end: async () => {
      await rmdir(blockade);
      await redis.bgsave();
      await saved('ok');
    },
  });
  once(runs);
});

test('CLUSTERDOWN: no node serves the slot of the queue', async () => {
  await using server = await startRedis({ args: ['--cluster-enabled', 'yes'] });
  const redis = server.client();
  await redis.cluster('ADDSLOTSRANGE', 0, 16_383);
  await eventually(async () => expect(await redis.cluster('INFO')).toContain('cluster_state:ok'));
  const keys = queueKeys('q', '{q}:result');
  const slot = await redis.cluster('KEYSLOT', keys.queue);
  const runs = await survive({
    redis,
    address: server.address,
    keys,
    begin: () => redis.cluster('DELSLOTS', slot),
    met: async (workers, queue) => {
      await complained(workers, /CLUSTERDOWN/);
      await expect(queue.enqueue('refused')).rejects.toThrow('CLUSTERDOWN');
    },
    end: () => redis.cluster('ADDSLOTS', slot),
  });
  once(runs);
});

test('NOSCRIPT: the scripts are forgotten, again and again', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const count = async (): Promise<number> =>
    Number(/errorstat_NOSCRIPT:count=(\d+)/.exec(await redis.info('errorstats'))?.[1] ?? 0);
  const runs = await survive({
    redis,
    address: server.address,
    keys: freshKeys(),
    begin: () => redis.script('FLUSH'),
    met: async () => {
      for (let flushes = 0; flushes < 10; flushes++) {
        const before = await count();
        await redis.script('FLUSH');
        await eventually(async () => expect(await count()).toBeGreaterThan(before), { everyMs: 1 });
      }
    },
    end: () => undefined,
  });
  once(runs);
});

test('LOADING: a restarted server reads what it kept, and answers meanwhile', async () => {
  // a snapshot on SIGTERM, and a pause for each key when it is read: for as long as nobody has met it
  const slowly = ['--key-load-delay', '60000', '--loading-process-events-interval-bytes', '1024'];
  await using server = await startRedis({ args: ['--save', '3600 1000000', ...slowly] });
  const redis = server.client();
  await redis.mset(
    Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`filler ${i}`, 'x'.repeat(100)])),
  );
  let starting: Promise<void> | undefined;
  const runs = await survive({
    redis,
    address: server.address,
    keys: freshKeys(),
    begin: async () => {
      await server.terminate();
      starting = server.start();
    },
    met: async () => {
      await using impatient = new AsyncDisposableStack();
      const probe = openRedis(server.address, { enableReadyCheck: false, retryStrategy: () => 10 });
      impatient.defer(() => probe.disconnect());
      await expect(probe.get('filler 1')).rejects.toThrow('LOADING');
      await probe.config('SET', 'key-load-delay', '1000');
    },
    end: () => starting,
  });
  once(runs);
});
