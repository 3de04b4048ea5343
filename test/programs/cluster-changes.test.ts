/** A Redis Cluster that changes while a worker and plain clients are at work: slots move, primaries die. */
import { Cluster } from 'ioredis';
import { expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import { locationOf } from '../../queue/location.ts';
import { openQueue } from '../../queue/queue.ts';
import { startCluster, type RedisCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { known, sample } from '../support/sampling.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

/** A client as a plain program has it. */
function plainClient({ servers }: RedisCluster): Cluster & AsyncDisposable {
  const client = new Cluster(
    servers.map(({ host, port }) => ({ host, port })),
    { maxRedirections: 200, retryDelayOnFailover: 200, retryDelayOnClusterDown: 200 },
  );
  client.on('error', () => undefined);
  return Object.assign(client, {
    [Symbol.asyncDispose]: async () => {
      await client.quit();
    },
  });
}

test('slots of the queue and of the results move to other primaries: each task runs once', async () => {
  await using cluster = await startCluster();
  await using client = plainClient(cluster);
  const keys = freshKeys();
  const runs = new Map<string, number>();
  await using worker = startWorker(cluster, keys, {
    concurrency: 4,
    handler: (task) => {
      runs.set(String(task), (runs.get(String(task)) ?? 0) + 1);
      return 'done';
    },
  });
  await worker.ready();
  let pushed = 0;
  for (let move = 0; move < 4; move++) {
    const pushing = (async () => {
      for (let i = 0; i < 50; i++) await client.lpush(keys.queue, `task ${pushed++}`);
    })();
    await cluster.moveSlot(move % 2 === 0 ? keys.queue : keys.result);
    await pushing;
  }
  await eventually(async () => expect(await client.hlen(keys.result)).toBe(pushed));
  expect([...runs.values()].every((times) => times === 1)).toBe(true);
  expect(worker.epochs).toBe(1);
});

test('a new node joins and takes the slots of a queue and its results, and leaves again: each task runs once', async () => {
  await using cluster = await startCluster();
  await using client = plainClient(cluster);
  const { queue } = freshKeys();
  const keys = queueKeys(`{${queue}}:tasks`, `{${queue}}:results`);
  await using library = openQueue({ redis: cluster.address, queue: keys.queue, result: keys.result });
  const runs = new Map<string, number>();
  await using worker = startWorker(cluster, keys, {
    concurrency: 4,
    handler: (task) => {
      runs.set(String(task), (runs.get(String(task)) ?? 0) + 1);
      return 'done';
    },
  });
  await worker.ready();
  await using sampling = sample(cluster.address, { pollMs: 200, safetyMs: 600_000 });
  const { sampler, woken } = sampling;
  sampler.add('p', [locationOf(cluster.address, keys).keys]);
  await known(sampler, 'p', { waiting: 0 });
  let pushed = 0;
  const push = async (): Promise<void> => {
    for (let i = 0; i < 50; i++) await client.lpush(keys.queue, `task ${pushed++}`);
  };
  const changes = [() => cluster.joinFor(keys.queue), () => cluster.dropOwnerOf(keys.queue)];
  for (const change of changes) {
    const pushing = push();
    await change();
    await pushing;
    expect(await library.result(await library.enqueue(`task ${pushed++}`), { timeoutMs: 60_000 })).toBe(
      'done',
    );
    await eventually(async () => expect(await client.hlen(keys.result)).toBe(pushed));
    // an idle pool is woken where its queue is now
    await known(sampler, 'p', { waiting: 0, inFlight: 0 });
    sampler.setActive('p', false, 0);
    await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
    const before = woken.length;
    // the worker may have taken one before the sampler listens again
    await eventually(
      async () => {
        await client.lpush(keys.queue, `task ${pushed++}`);
        expect(woken.length).toBeGreaterThan(before);
      },
      { everyMs: 500 },
    );
    sampler.setActive('p', true, 0);
  }
  await eventually(async () => expect(await client.hlen(keys.result)).toBe(pushed));
  expect([...runs.values()].every((times) => times === 1)).toBe(true);
  expect(worker.epochs).toBe(1);
});

test('an idle worker, and a client that waits for a result, follow a slot that moves', async () => {
  await using cluster = await startCluster();
  await using client = plainClient(cluster);
  const keys = freshKeys();
  await using queue = openQueue({ redis: cluster.address, queue: keys.queue, result: keys.result });
  await using worker = startWorker(cluster, keys, { handler: (task) => `done ${String(task)}` });
  await worker.ready();
  expect(await queue.result(await queue.enqueue('before'))).toBe('done before');
  const waiting = queue.result('later', { timeoutMs: 60_000 });
  await cluster.moveSlot(keys.queue);
  await cluster.moveSlot(keys.result);
  await client.lpush(keys.queue, 'later');
  expect(await waiting).toBe('done later');
});

test('a replica takes over from the primary of an idle queue: the next push wakes its pool and its worker', async () => {
  await using cluster = await startCluster({ replicas: 1 });
  await using client = plainClient(cluster);
  const keys = freshKeys();
  await using worker = startWorker(cluster, keys, { handler: () => 'done' });
  await worker.ready();
  await using sampling = sample(cluster.address, { pollMs: 200, safetyMs: 600_000 });
  const { sampler, woken } = sampling;
  sampler.add('p', [locationOf(cluster.address, keys).keys]);
  await known(sampler, 'p', { waiting: 0 });
  sampler.setActive('p', false, 0);
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  await cluster.failOver(keys.queue);
  await client.lpush(keys.queue, 'a');
  await eventually(() => expect(woken).toContain('p'));
  await eventually(async () => expect(await client.hget(keys.result, 'a')).toBe('done'));
  expect(worker.epochs).toBe(1);
});

test('the primary of the results dies before its replica has one: with durability, it is stored again', async () => {
  await using cluster = await startCluster({ replicas: 1 });
  await using client = plainClient(cluster);
  let keys = freshKeys();
  while ((await cluster.ownerOf(keys.queue)) === (await cluster.ownerOf(keys.result))) keys = freshKeys();
  const durability = { replicas: 1, timeoutMs: 500 };
  await using worker = startWorker(cluster, keys, { handler: () => 'done', leaseMs: 60_000, durability });
  await worker.ready();
  const primary = await cluster.ownerOf(keys.result);
  const replica = await cluster.replicaOf(primary);
  // one that was never in step does not take over
  await eventually(async () => expect(await primary.client().wait(1, 1_000)).toBe(1));
  replica.stop();
  // what waits in a connection would reach the replica all the same
  await primary.client().call('CLIENT', 'KILL', 'TYPE', 'replica');
  try {
    await client.lpush(keys.queue, 'a');
    await eventually(async () => expect(await primary.client().hget(keys.result, 'a')).toBe('done'));
    await primary.kill();
  } finally {
    replica.cont();
  }
  await eventually(async () => expect(await client.hget(keys.result, 'a')).toBe('done'), {
    withinMs: 60_000,
  });
  // the task is in flight until a replica has the result: the old primary is the only one that there is
  await primary.start();
  const queue = await cluster.clientOf(keys.queue);
  await eventually(async () => expect(await queue.hlen(keys.inflight(worker.id))).toBe(0));
  expect(worker.epochs).toBe(1);
});

test('the primary of the queue dies and a replica takes over: what it has confirmed is done', async () => {
  await using cluster = await startCluster({ replicas: 1 });
  await using client = plainClient(cluster);
  const keys = freshKeys();
  await using worker = startWorker(cluster, keys, { handler: () => 'done', leaseMs: 60_000, concurrency: 4 });
  await worker.ready();
  await using queue = openQueue({
    redis: cluster.address,
    queue: keys.queue,
    result: keys.result,
    durability: { replicas: 1, timeoutMs: 5_000 },
  });
  const tasks = Array.from({ length: 100 }, (_, i) => `task ${i}`);
  await queue.enqueueMany(tasks);
  const primary = await cluster.ownerOf(keys.queue);
  await primary.kill();
  await client.lpush(keys.queue, 'after');
  await eventually(
    async () => expect((await client.hkeys(keys.result)).toSorted()).toEqual([...tasks, 'after'].toSorted()),
    { withinMs: 60_000 },
  );
});
