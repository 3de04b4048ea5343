/** A primary that is not one any more: READONLY answers, another server under the same name, Sentinel. */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startSentinels } from '../support/sentinel.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { complained, survive } from '../support/troubles.ts';
import { freshKeys } from '../support/turns.ts';

const AT_ONCE = ['--repl-diskless-sync-delay', '0'];

/** A server that follows `primary`, with all that it has. */
async function startReplica(primary: RedisServer): Promise<RedisServer> {
  const replica = await startRedis({ args: [...AT_ONCE, '--replicaof', primary.host, String(primary.port)] });
  await eventually(async () =>
    expect(await replica.client().info('replication')).toContain('master_link_status:up'),
  );
  return replica;
}

/** Makes the second server the primary of the first, once it has all that the first one has. */
async function swap(primary: Redis, replica: Redis, { host, port }: RedisServer): Promise<void> {
  await primary.call('CLIENT', 'PAUSE', '10000', 'WRITE');
  await eventually(async () => {
    const offset = async (redis: Redis): Promise<string | undefined> =>
      /master_repl_offset:(\d+)/.exec(await redis.info('replication'))?.[1];
    expect(await offset(replica)).toBe(await offset(primary));
  });
  await replica.replicaof('NO', 'ONE');
  await primary.replicaof(host, port);
  await primary.call('CLIENT', 'UNPAUSE');
}

const readonlyErrors = async (redis: Redis): Promise<number> =>
  Number(/errorstat_READONLY:count=(\d+)/.exec(await redis.info('errorstats'))?.[1] ?? 0);

test('a planned failover behind one name: after READONLY, the name is resolved again', async () => {
  await using first = await startRedis({ args: AT_ONCE });
  await using second = await startReplica(first);
  await using proxy = await startTcpProxy(first.port);
  const old = first.client();
  const runs = await survive({
    redis: second.client(),
    address: { url: `redis://127.0.0.1:${proxy.port}` },
    keys: freshKeys(),
    begin: async () => {
      await swap(old, second.client(), second);
      proxy.redirect(second.port);
    },
    met: () => eventually(async () => expect(await readonlyErrors(old)).toBeGreaterThan(0)),
    end: () => undefined,
  });
  for (const [task, times] of runs) expect(`${task} × ${times}`).toBe(`${task} × 1`);
});

test('a primary that takes no writes for a while: everybody waits for it', async () => {
  await using other = await startRedis({ args: AT_ONCE });
  await using server = await startReplica(other);
  const redis = server.client();
  await redis.replicaof('NO', 'ONE');
  const runs = await survive({
    redis,
    address: server.address,
    keys: freshKeys(),
    // it follows a server that is not there, and keeps what it has
    begin: async () => {
      await other.kill();
      await redis.replicaof(other.host, other.port);
    },
    met: async () => {
      const before = await readonlyErrors(redis);
      await eventually(async () => expect(await readonlyErrors(redis)).toBeGreaterThan(before + 5));
    },
    end: () => redis.replicaof('NO', 'ONE'),
  });
  for (const [task, times] of runs) expect(`${task} × ${times}`).toBe(`${task} × 1`);
});

test('Sentinel: the primary dies, and its replica takes over', async () => {
  await using first = await startRedis({ args: AT_ONCE });
  await using second = await startReplica(first);
  await using sentinels = await startSentinels(first, 'mymaster');
  const address: RedisAddress = { sentinel: { name: 'mymaster', nodes: sentinels.nodes } };
  await survive({
    redis: second.client(),
    address,
    keys: freshKeys(),
    begin: async () => {
      // what the replica has not seen yet would be lost with the primary
      await first.client().call('CLIENT', 'PAUSE', '60000', 'WRITE');
      await first.client().wait(1, 5_000);
      await first.kill();
    },
    met: (workers) => complained(workers, /Connection is closed|closes the connection|refuses connections/),
    end: () => undefined,
  });
  expect(await second.client().info('replication')).toContain('role:master');
});
