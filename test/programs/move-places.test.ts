/**
 * Moves out of the places that people have: behind sentinels, a cluster, a server that lets fields of a hash expire, and one that allows
 * a user no more than docs/move.md says.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import { moveQueues } from '../../queue/move/move.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { newerRedis } from '../support/newer-redis.ts';
import { startRedis } from '../support/redis.ts';
import { startSentinels } from '../support/sentinel.ts';

const keys = queueKeys('task_queue', 'result');
const plans = [{ from: keys, to: [keys] as const, records: { from: keys, to: keys } }];
const ids = (count: number): string[] => Array.from({ length: count }, (_, i) => `t${i}`);
const page = (name: string): string => readFileSync(join(import.meta.dirname, '../../docs', name), 'utf8');

test('from behind sentinels, followed through a failover', async () => {
  const args = ['--repl-diskless-sync-delay', '0'];
  await using first = await startRedis({ args });
  await using second = await startRedis({ args });
  await using to = await startRedis();
  await second.client().replicaof(first.host, first.port);
  await using sentinels = await startSentinels(first, 'main', { downAfterMs: 30_000 });
  await first.client().lpush(keys.queue, ...ids(5_000));
  const following = Promise.withResolvers<void>();
  const ended = new AbortController();
  const moved = moveQueues({
    from: { sentinel: { name: 'main', nodes: sentinels.nodes } },
    to: to.address,
    plans,
    followMs: 3_600_000,
    signal: ended.signal,
    onFollowing: following.resolve,
  });
  await Promise.race([following.promise, moved]);
  const replica = second.client();
  await eventually(async () => {
    expect(await replica.hget(keys.move, 'caughtUp')).toBe('1');
    expect(await replica.exists(keys.queue, keys.moving)).toBe(0);
  });
  await sentinels.failOver();
  await sentinels.agreeOn(second);
  await eventually(() => replica.lpush(keys.queue, 'after the failover'));
  const all = [...ids(5_000), 'after the failover'].toReversed();
  const arrived = eventually(async () => expect(await to.client().lrange(keys.queue, 0, -1)).toEqual(all));
  await Promise.race([arrived, moved]);
  ended.abort();
  expect(await moved).toMatchObject({ moved: { tasks: 5_001 } });
  expect(await replica.exists(keys.queue, keys.move, keys.moving)).toBe(0);
});

test('from partitions in a cluster to one list on one server', async () => {
  await using cluster = await startCluster();
  await using to = await startRedis();
  const lists = partitionKeys('task_queue', 'result', 3);
  const clients = await Promise.all(lists.map(({ queue }) => cluster.clientOf(queue)));
  for (const [i, list] of lists.entries()) {
    await clients[i]?.lpush(list.queue, ...ids(2_100).map((id) => `${id} of ${i}`));
    await (await cluster.clientOf(list.result)).hset(list.result, `r${i}`, 'value');
    await clients[i]?.set(list.paused, '5 for a while');
    await clients[i]?.zadd(list.delayed, 1, `n|1|0|late ${i}`);
  }
  await moveQueues({
    from: cluster.address,
    to: to.address,
    plans: lists.map((from) => ({ from, to: [keys] as const })),
  });
  const now = to.client();
  const there = await now.lrange(keys.queue, 0, -1);
  for (const i of lists.keys())
    expect(there.filter((task) => task.endsWith(` of ${i}`))).toEqual(
      ids(2_100)
        .map((id) => `${id} of ${i}`)
        .toReversed(),
    );
  expect(there).toHaveLength(3 * 2_100);
  expect(await now.hgetall(keys.result)).toEqual({ r0: 'value', r1: 'value', r2: 'value' });
  expect(await now.zcard(keys.delayed)).toBe(3);
  expect(await now.get(keys.paused)).toBe('5 for a while');
  for (const server of cluster.servers) expect(await server.client().dbsize()).toBe(0);
});

/** Everything that a queue may have, with results that expire. */
async function fill(redis: Redis): Promise<void> {
  await redis.lpush(keys.queue, ...ids(3_000));
  await redis.hset(keys.history, '=t7', '2:1:x:3');
  await redis.hset(keys.pasts, '=t8', '0:1:2:1:x:3');
  await redis.lpush(keys.suspects, '1:2:x:4|suspect');
  await redis.zadd(keys.delayed, 1, 'n|1|0|later');
  const header = JSON.stringify({ error: 'boom', attempts: 3, worker: 'w', id: 'd' });
  await redis.lpush(keys.dead, `1 ${header}\n{"id":"d"}`);
  await redis.hset(keys.errors, 'd', header);
  await redis.hset(keys.result, 'kept', 'one', 'expires', 'two');
  await redis.call('HPEXPIRE', keys.result, 3_600_000, 'FIELDS', 1, 'expires');
  await redis.zadd(keys.cancelled, 1, 't9');
  await redis.zadd(keys.expiry, 1, 'eabc|d');
  await redis.hset(keys.stats, 'completed', 7, 'squaresS2', '1.5');
  await redis.set(keys.paused, '5 for a while');
  await redis.set(keys.memory('shop/tiles'), 'learned', 'EX', 1_000);
  await redis.lpush(keys.decisions('shop/tiles'), 'one');
  await redis.pexpire(keys.decisions('shop/tiles'), 1_000_000);
  await redis.xadd(keys.timeline('shop/tiles'), '5-0', 'v', '1');
  await redis.pexpire(keys.timeline('shop/tiles'), 1_000_000);
}

/** The rules of the user in docs/security.md. */
function rulesOfWorker(): string[] {
  const [, rules = ''] = /^ACL SETUSER millrace ([^`]+)^```/m.exec(page('security.md')) ?? [];
  return rules.split(/[\s\\]+/).filter((rule) => rule !== '');
}

/** The commands in a paragraph of docs/move.md. */
function commandsOfMove(): string[] {
  const [, list = ''] =
    /^The Redis user needs, beyond what a worker needs, ([^]+?)\n\n/m.exec(page('move.md')) ?? [];
  const found = Array.from(list.matchAll(/`([A-Z]+)`/g), ([, name = '']) => name.toLowerCase());
  return [...new Set(found)];
}

async function called(redis: Redis): Promise<string[]> {
  return Array.from(
    (await redis.info('commandstats')).matchAll(/^cmdstat_([^:]+):/gm),
    ([, name = '']) => name,
  );
}

test('a user with the commands that the page names may move all there is, and needs each of them', async () => {
  const program = await newerRedis();
  await using from = await startRedis({ program });
  await using to = await startRedis({ program });
  const [old, now] = [from.client(), to.client()];
  const worker = rulesOfWorker();
  const commands = commandsOfMove();
  expect(commands.length).toBeGreaterThan(8);
  expect(commands.filter((command) => worker.includes(`+${command}`))).toEqual([]);
  await fill(old);
  const user = ['millrace', ...worker, ...commands.map((command) => `+${command}`)];
  for (const redis of [old, now]) {
    await redis.call('ACL', 'SETUSER', ...user);
    await redis.config('RESETSTAT');
  }
  const as = (url: string) => ({ url: url.replace('redis://', 'redis://millrace:secret@') });
  let pushed: Promise<unknown> | undefined;
  await moveQueues({
    from: as(from.url),
    to: as(to.url),
    plans,
    // as a client of the new place does
    onMoved: (what) => {
      if (what === 'tasks') pushed ??= now.lpush(keys.queue, 'new');
    },
  });
  await pushed;
  for (const redis of [old, now]) expect(await redis.call('ACL', 'LOG')).toEqual([]);
  const used = new Set([...(await called(old)), ...(await called(now))]);
  expect(commands.filter((command) => !used.has(command))).toEqual([]);

  // and it is all there
  expect(await old.keys('*')).toEqual([]);
  expect(await now.llen(keys.queue)).toBe(3_002);
  expect(await now.hgetall(keys.stats)).toMatchObject({ completed: '7', squaresS2: '1.5' });
  expect(await now.get(keys.memory('shop/tiles'))).toBe('learned');
  expect(await now.lrange(keys.decisions('shop/tiles'), 0, -1)).toEqual(['one']);
  expect(await now.xlen(keys.timeline('shop/tiles'))).toBe(1);
  expect(await now.hgetall(keys.result)).toEqual({ kept: 'one', expires: 'two' });
  const [left] = (await now.call('HPTTL', keys.result, 'FIELDS', 1, 'expires')) as [number];
  expect(left).toBeGreaterThan(3_000_000);
  expect(left).toBeLessThanOrEqual(3_600_000);
  expect(await now.call('HPTTL', keys.result, 'FIELDS', 1, 'kept')).toEqual([-1]);
});
