/** A primary that is not one any more: READONLY answers, another server under the same name, Sentinel. */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { openRedis, type RedisAddress } from '../../queue/connection/connection.ts';
import { BLOCKER_OPTIONS } from '../../worker/epoch/idle-wait.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startSentinels } from '../support/sentinel.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { complained, survive } from '../support/troubles.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, startWorker } from '../support/workers.ts';

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

test('a worker whose wait stays with a former primary that has ended it: the task stays there, and the worker goes where its turns go', async () => {
  await using first = await startRedis({ args: AT_ONCE });
  await using second = await startReplica(first);
  const [old, redis] = [first.client(), second.client()];
  await using proxy = await startTcpProxy(first.port);
  const keys = freshKeys();
  await using worker = startWorker({ address: { url: `redis://127.0.0.1:${proxy.port}` } }, keys, {
    handler: () => 'done',
  });
  await worker.ready();
  const clients = async (of: Redis): Promise<string> => String(await of.client('LIST'));
  await eventually(async () => expect(await clients(old)).toContain('cmd=blmove'));
  await first.client().wait(1, 5_000);
  await redis.replicaof('NO', 'ONE');
  proxy.redirect(second.port);
  const turns = /^id=(\d+) .* name=millrace:.* flags=N /m.exec(await clients(old));
  await old.client('KILL', 'ID', turns?.[1] ?? '');
  await eventually(async () => expect(await clients(redis)).toContain('cmd=evalsha'));
  await eventually(async () => expect(await clients(old)).toContain('cmd=blmove'));
  // as a controller does there that has not heard of the second one
  await old.del(keys.workers, keys.worker(worker.id));

  await old.lpush(keys.queue, 'there');
  await eventually(async () => expect(await clients(redis)).toContain('cmd=blmove'));
  expect(await old.lrange(keys.queue, 0, -1)).toEqual(['there']);
  expect(await old.exists(keys.wake(worker.id))).toBe(0);
  await redis.lpush(keys.queue, 'here');
  await resultsOf(redis, keys.result, 1);
  expect(await redis.hgetall(keys.result)).toEqual({ here: 'done' });
  expect(worker.epochs).toBe(1);
});

test('a move that a former primary has refused is not made when that is one again', async () => {
  await using other = await startRedis();
  const former = other.client();
  const keys = freshKeys();
  await former.replicaof('127.0.0.1', 1);
  const blocker = openRedis(other.address, BLOCKER_OPTIONS);
  try {
    const moved = blocker.blmove(keys.queue, keys.wake('w'), 'RIGHT', 'LEFT', 5);
    await expect(moved).rejects.toThrow(/READONLY/);
    await former.replicaof('NO', 'ONE');
    await former.lpush(keys.queue, 'task');
    // replaced: by the answer, whatever was to be sent again was
    expect(await blocker.ping()).toBe('PONG');
    expect(await former.lrange(keys.queue, 0, -1)).toEqual(['task']);
  } finally {
    blocker.disconnect();
  }
});
