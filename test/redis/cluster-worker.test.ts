/** A worker and the queue library on a Redis Cluster of three primaries. */
import calculateSlot from 'cluster-key-slot';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openClusterLinks } from '../../queue/connection/cluster/links.ts';
import { awaitReplicas, NotReplicated } from '../../queue/connection/durability.ts';
import { openQueue, TaskExpired } from '../../queue/queue.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { openLevels } from '../../queue/served-levels.ts';
import { runOf } from '../../queue/workers/worker-connections.ts';
import { createLeaseKeepers } from '../../worker/lease/lease.ts';
import { startCluster, type RedisCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { atRest } from '../support/resting.ts';
import { freshKeys } from '../support/turns.ts';
import { promptly, resultsOf, startWorker } from '../support/workers.ts';

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster[Symbol.asyncDispose]());

/** Keys whose result hash is in another slot, on another primary. */
async function keysApart(): Promise<QueueKeys> {
  for (;;) {
    const keys = freshKeys();
    if ((await cluster.ownerOf(keys.queue)) !== (await cluster.ownerOf(keys.result))) return keys;
  }
}

test('plain names: the result hash is on another primary, and plain clients see every result', async () => {
  const keys = await keysApart();
  expect(calculateSlot(keys.queue)).not.toBe(calculateSlot(keys.result));
  const pusher = await cluster.clientOf(keys.queue);
  const reader = await cluster.clientOf(keys.result);
  await pusher.lpush(keys.queue, 'a', 'b', 'c');
  await using worker = startWorker(cluster, keys, { handler: (task) => `done ${String(task)}` });
  await worker.ready();
  expect(await resultsOf(reader, keys.result, 3)).toEqual({ a: 'done a', b: 'done b', c: 'done c' });
  await pusher.lpush(keys.queue, 'd');
  expect((await resultsOf(reader, keys.result, 4))['d']).toBe('done d');
  expect(worker.epochs).toBe(1);
});

test('unique tasks and those that expire, whose results are on another primary', async () => {
  const keys = await keysApart();
  await using queue = openQueue({ redis: cluster.address, queue: keys.queue, result: keys.result });
  await queue.enqueue({ id: 'a' }, { unique: 'k', expiresInMs: 3_600_000 });
  expect(await queue.enqueueUnique({ id: 'b' }, { unique: 'k' })).toEqual({ id: 'a', duplicate: true });
  await queue.enqueue({ id: 'late' }, { unique: 'late', expiresAt: new Date(1.6e12) });
  await using _worker = startWorker(cluster, keys, { handler: () => 'ok' });
  expect(await queue.result('a')).toBe('ok');
  await expect(queue.result('late')).rejects.toThrow(TaskExpired);
  const redis = await cluster.clientOf(keys.queue);
  await eventually(async () => expect(await redis.exists(keys.unique('k'), keys.unique('late'))).toBe(0));
  expect(await queue.dead.requeue({ ids: ['late'] })).toBe(1);
  expect(await queue.result('late')).toBe('ok');
});

test('priorities, whose results are on another primary', async () => {
  const keys = await keysApart();
  await using queue = openQueue({ redis: cluster.address, queue: keys.queue, result: keys.result });
  await expect(queue.enqueue({ id: 'a' }, { priority: 'high' })).rejects.toThrow(/no tasks of high priority/);
  const begun: string[] = [];
  const handler = (task: unknown): string => {
    const { id } = task as { id: string };
    begun.push(id);
    if (id === 'bad') throw new Error('wrong');
    return 'ok';
  };
  const redis = await cluster.clientOf(keys.queue);
  await openLevels(redis, keys, ['high', 'low']);
  await queue.enqueue({ id: 'low' }, { priority: 'low' });
  await redis.lpush(`{${keys.queue}}:high`, '{"id":"high"}');
  await queue.enqueue({ id: 'bad' }, { priority: 'high' });
  await queue.enqueue({ id: 'dropped' }, { priority: 'low' });
  expect(await queue.cancel('dropped')).toBe('marked');
  // a retry is delayed, and what is delayed lets others go first
  const retry = { ...promptly, attempts: 1 };
  await using _worker = startWorker(cluster, keys, { handler, priorities: ['high', 'low'], retry });
  expect(await queue.result('high')).toBe('ok');
  await expect(queue.result('bad')).rejects.toThrow(/wrong/);
  expect(await queue.result('low')).toBe('ok');
  await expect(queue.result('dropped')).rejects.toThrow(/was cancelled/);
  expect(await queue.cancel('high')).toBe('finished');
  expect(begun.indexOf('low')).toBe(begun.length - 1);
});

test('a batch, plain or of the library, whose results are on another primary than its parts', async () => {
  const keys = await keysApart();
  await using queue = openQueue({ redis: cluster.address, queue: keys.queue, result: keys.result });
  const handler = (task: unknown): unknown => {
    const { parts, n } = task as { parts?: { results: string; succeeded: number }; n?: number };
    return parts ?? n;
  };
  await using _worker = startWorker(cluster, keys, { handler, concurrency: 4 });
  const numbers = Array.from({ length: 50 }, (_, n) => ({ n }));
  await queue.batch(numbers, { id: 'b', then: { kind: 'join' } });
  expect(await queue.result('b:then', { as: 'json' })).toMatchObject({ results: keys.result, succeeded: 50 });
  const values: unknown[] = [];
  for await (const { value } of queue.batch.results('b')) values.push(value);
  expect(values).toEqual(numbers.map(({ n }) => String(n)));
  const pusher = await cluster.clientOf(keys.queue);
  await pusher.lpush(
    keys.queue,
    JSON.stringify({ id: 'p', batch: { id: 'one', size: 1, then: { id: 'after' } } }),
  );
  expect(await queue.result('after', { as: 'json' })).toMatchObject({ results: keys.result, succeeded: 1 });
});

test('while the primary of the results is away, the lease is renewed, and what it cannot store comes later', async () => {
  const keys = await keysApart();
  const redis = await cluster.clientOf(keys.queue);
  const results = await cluster.ownerOf(keys.result);
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  await using worker = startWorker(cluster, keys, {
    leaseMs: 60_000,
    concurrency: 2,
    handler: async (task) => {
      if (task === 'long') await released;
      return `done ${String(task)}`;
    },
  });
  await worker.ready();
  const turns = async (): Promise<number> => Number(await redis.hget(keys.worker(worker.id), 'turn'));
  results.stop();
  try {
    await redis.lpush(keys.queue, 'long', 'short');
    await eventually(() =>
      expect(worker.log).toContainEqual(expect.objectContaining({ event: 'outcome-deferred' })),
    );
    const before = await turns();
    await eventually(async () => expect(await turns()).toBeGreaterThan(before));
  } finally {
    results.cont();
  }
  const reader = results.client();
  await eventually(async () => expect(await reader.hgetall(keys.result)).toEqual({ short: 'done short' }));
  release();
  expect(await resultsOf(reader, keys.result, 2)).toEqual({ long: 'done long', short: 'done short' });
  expect(worker.epochs).toBe(1);
});

test('one slot for both: a turn stores the results, as on a single server', async () => {
  const { queue } = freshKeys();
  const keys = queueKeys(`{${queue}}:tasks`, `{${queue}}:results`);
  const redis = await cluster.clientOf(keys.queue);
  await using worker = startWorker(cluster, keys, { handler: () => 'done' });
  await worker.ready();
  await redis.lpush(keys.queue, 'a');
  expect(await resultsOf(redis, keys.result, 1)).toEqual({ a: 'done' });
});

test('several queues on several primaries, one worker', async () => {
  const queues: string[] = [];
  const owners = new Set<Awaited<ReturnType<typeof cluster.ownerOf>>>();
  // the slot of a name is as good as random
  while (queues.length < 6 || (owners.size < 2 && queues.length < 100)) {
    const { queue } = freshKeys();
    queues.push(queue);
    owners.add(await cluster.ownerOf(queue));
  }
  expect(owners.size).toBeGreaterThan(1);
  const { result } = freshKeys();
  const [first = ''] = queues;
  await using worker = startWorker(cluster, queueKeys(first, result), {
    queue: queues,
    handler: String,
  });
  await worker.ready();
  for (const queue of queues) await (await cluster.clientOf(queue)).lpush(queue, `in ${queue}`);
  const reader = await cluster.clientOf(result);
  expect(Object.keys(await resultsOf(reader, result, queues.length)).toSorted()).toEqual(
    queues.map((queue) => `in ${queue}`).toSorted(),
  );
  // a link to each primary, and what each queue waits on
  const primaries = owners.add(await cluster.ownerOf(result));
  const admins = cluster.servers.map((server) => server.client());
  await eventually(async () => {
    const lists = await Promise.all(admins.map(async (admin) => String(await admin.client('LIST'))));
    expect(lists.join('').split(worker.id).length - 1).toBe(queues.length + primaries.size);
  });
});

/** As many replicas as a primary of this cluster has: all of them confirm at once. */
const none = { replicas: 0, timeoutMs: 1_000 };
const linkOptions = { waits: true, passingMs: 1_000 };

test('while the new primary of a queue is not connected yet, tasks of other queues begin, and it confirms nothing', async () => {
  const keys = freshKeys();
  await using links = openClusterLinks({ ...linkOptions, address: cluster.address });
  await using keepers = createLeaseKeepers({
    worker: 'w',
    address: cluster.address,
    leaseMs: 60_000,
    queues: 1,
  });
  const redis = links.client(keys.queue);
  using keeper = keepers.of({ redis, rank: 0, keys, clientName: () => '' });
  expect(() => keeper.begin(1)).not.toThrow();
  await expect(awaitReplicas(redis, none, 'nothing')).rejects.toBeInstanceOf(NotReplicated);
  await redis.ping();
  await awaitReplicas(redis, none, 'nothing');
});

test('what was written at one primary is not confirmed by the next one of its slot', async () => {
  const { queue } = freshKeys();
  await using links = openClusterLinks({ ...linkOptions, address: cluster.address });
  const [writer, other] = [links.client(queue), links.client(queue)];
  await writer.lpush(queue, 'a');
  await awaitReplicas(writer, none, 'a');
  await cluster.moveSlot(queue);
  // learns where the slot is now, for all
  expect(await other.llen(queue)).toBe(1);
  await expect(awaitReplicas(writer, none, 'a')).rejects.toBeInstanceOf(NotReplicated);
  await writer.lpush(queue, 'b');
  await awaitReplicas(writer, none, 'b');
});

test('while a slot moves, results are read from where they are, and pushes wait until they can be made', async () => {
  const keys = await keysApart();
  await using queue = openQueue({ redis: cluster.address, queue: keys.queue, result: keys.result });
  const results = await cluster.beginMove(keys.result);
  const other = await cluster.clientOf(keys.result);
  await expect(other.hset(keys.result, 'early', 'done')).rejects.toThrow(/^ASK /);
  await using _worker = startWorker(cluster, keys, { handler: (task) => `done ${String(task)}` });
  // stored by the worker and read by the library at the node that does not have the slot yet
  expect(await queue.result(await queue.enqueue('early'), { timeoutMs: 60_000 })).toBe('done early');
  expect(await queue.cancel('early')).toBe('finished');
  await results.finish();
  expect(await queue.result(await queue.enqueue('after'))).toBe('done after');
  const moving = await cluster.beginMove(keys.queue);
  const pushed = queue.enqueue('late');
  const cancelled = queue.cancel('never');
  expect(await queue.result('early')).toBe('done early');
  await moving.finish();
  expect(await queue.result(await pushed)).toBe('done late');
  expect(await cancelled).toBe('marked');
});

test('the library: results, failures, cancelled and delayed tasks, from two primaries', async () => {
  const keys = await keysApart();
  await using queue = openQueue({ redis: cluster.address, queue: keys.queue, result: keys.result });
  await using worker = startWorker(cluster, keys, {
    retry: { ...promptly, attempts: 1 },
    handler: (task) => {
      if (String(task).startsWith('bad')) throw new Error('no good');
      return `done ${String(task)}`;
    },
  });
  await worker.ready();
  expect(await queue.result(await queue.enqueue('good'))).toBe('done good');
  const bad = await queue.enqueue('bad');
  await expect(queue.result(bad)).rejects.toThrow('no good');
  expect(await queue.cancel('good')).toBe('finished');
  const late = await queue.enqueue('late', { delayMs: 3_600_000 });
  expect(await queue.cancel(late)).toBe('marked');
  expect(await queue.inspect()).toMatchObject({ waiting: 0, delayed: 1, dead: 1 });
  expect((await queue.dead(10)).map(({ error }) => error)).toEqual([expect.stringContaining('no good')]);
  // an earlier result goes when its task is enqueued again
  await queue.pause('for now');
  await queue.enqueue('good');
  expect(await (await cluster.clientOf(keys.result)).hexists(keys.result, 'good')).toBe(0);
  await queue.resume();
  expect(await queue.result('good')).toBe('done good');
});

test('a result of many tasks is read from one primary while failures are read from another', async () => {
  const keys = await keysApart();
  await using queue = openQueue({ redis: cluster.address, queue: keys.queue, result: keys.result });
  await using worker = startWorker(cluster, keys, { handler: (task) => String(task), concurrency: 50 });
  await worker.ready();
  const ids = await queue.enqueueMany(Array.from({ length: 3_000 }, (_, i) => `task ${i}`));
  const found = await Promise.all(ids.map((id) => queue.result(id)));
  expect(found).toEqual(ids);
});

test('partitions at rest: a task in any list, and in one whose slot has moved meanwhile, is begun', async () => {
  const plain = freshKeys();
  const lists = partitionKeys(plain.queue, plain.result, 4);
  const options = { partitions: 4, leaseMs: 600_000, restAfterMs: 10 };
  await using worker = startWorker(cluster, plain, { handler: () => 'done', ...options });
  const allRest = (): Promise<void> =>
    atRest((keys) => cluster.clientOf(keys.queue), lists, worker.id, 600_000);
  await allRest();
  const [first, moved] = lists as [QueueKeys, QueueKeys];
  const runs = async ({ queue, result }: QueueKeys): Promise<void> => {
    await (await cluster.clientOf(queue)).lpush(queue, 'task');
    await resultsOf(await cluster.clientOf(result), result, 1);
  };
  await runs(first);
  await allRest();
  await cluster.moveSlot(moved.queue);
  await runs(moved);
  await allRest();
});

test('a worker that is busy notes in each partition which primary has it now', async () => {
  const plain = freshKeys();
  const lists = partitionKeys(plain.queue, plain.result, 3);
  const finish = Promise.withResolvers<string>();
  await using worker = startWorker(cluster, plain, { partitions: 3, handler: () => finish.promise });
  await worker.ready();
  const [first] = lists as [QueueKeys];
  await (await cluster.clientOf(first.queue)).lpush(first.queue, 'long');
  const isNoted = async (keys: QueueKeys): Promise<void> =>
    await eventually(async () => {
      const owner = await cluster.clientOf(keys.queue);
      expect(await owner.hget(keys.worker(worker.id), 'server')).toBe(await runOf(owner));
    });
  await eventually(async () =>
    expect(await (await cluster.clientOf(first.queue)).hlen(first.inflight(worker.id))).toBe(1),
  );
  for (const keys of lists) await isNoted(keys);
  for (const keys of lists) {
    await cluster.moveSlot(keys.queue);
    await isNoted(keys);
  }
  finish.resolve('done');
  expect(worker.epochs).toBe(1);
});
