/** A queue in partitions on a Redis Cluster of four primaries: real workers, one of which is killed, and a slot that moves. */
import { mkdtemp, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { QueueKeys } from '../../queue/keys.ts';
import { partitionKeys, partitionOf } from '../../queue/partitions.ts';
import { openQueue } from '../../queue/queue.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import { startCluster, type RedisCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, spawnProgram, startWorker, TASKS } from '../support/workers.ts';

const COUNT = 4;

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startCluster({ primaries: COUNT });
});
afterAll(() => cluster[Symbol.asyncDispose]());

interface Scene {
  readonly plain: QueueKeys;
  readonly lists: readonly QueueKeys[];
  readonly names: { readonly queue: string; readonly result: string; readonly partitions: number };
}

function scene(): Scene {
  const plain = freshKeys();
  const { queue, result } = plain;
  return { plain, lists: partitionKeys(queue, result, COUNT), names: { queue, result, partitions: COUNT } };
}

const clientsOf = (lists: readonly QueueKeys[]): Promise<Redis[]> =>
  Promise.all(lists.map(({ queue }) => cluster.clientOf(queue)));

test('each partition is on a primary of its own, and each task of a plain client is run once, in order', async () => {
  const { plain, lists } = scene();
  const owners = await Promise.all(lists.map(({ queue }) => cluster.ownerOf(queue)));
  expect(new Set(owners).size).toBe(COUNT);
  const clients = await clientsOf(lists);
  const tasksOf = (i: number): string[] => Array.from({ length: 500 }, (_, n) => `${i}-${n}`);
  for (const [i, client] of clients.entries()) await client.lpush(lists[i]?.queue ?? '', ...tasksOf(i));
  const begun: string[] = [];
  const handler = (task: unknown): string => {
    begun.push(String(task));
    return 'ok';
  };
  await using worker = startWorker(cluster, plain, { handler, partitions: COUNT, concurrency: 8 });
  await worker.ready();
  for (const [i, client] of clients.entries()) {
    await resultsOf(client, lists[i]?.result ?? '', 500);
    expect(begun.filter((task) => task.startsWith(`${i}-`))).toEqual(tasksOf(i));
  }
});

test('a slot moves under load: every result comes back to the library', async () => {
  const { plain, lists, names } = scene();
  await using queue = openQueue({ redis: cluster.address, ...names });
  const handler = (task: unknown): string => `done ${String(task)}`;
  await using one = startWorker(cluster, plain, { handler, partitions: COUNT, concurrency: 4 });
  await using other = startWorker(cluster, plain, { handler, partitions: COUNT, concurrency: 4 });
  await Promise.all([one.ready(), other.ready()]);
  const ids = Array.from({ length: 2_000 }, (_, n) => `task-${n}`);
  const pushed = queue.enqueueMany(ids);
  const results = Promise.all(ids.map((id) => queue.result(id, { timeoutMs: 120_000 })));
  const before = await cluster.ownerOf(lists[1]?.queue ?? '');
  expect(await cluster.moveSlot(lists[1]?.queue ?? '')).not.toBe(before);
  await pushed;
  expect(await results).toEqual(ids.map((id) => `done ${id}`));
  // and it goes on there
  const late = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].find((id) => partitionOf(id, COUNT) === 1) ?? '';
  expect(await queue.result(await queue.enqueue(late), { timeoutMs: 60_000 })).toBe(`done ${late}`);
});

test('a worker is killed: what it held in several partitions is run by another one', async () => {
  const { plain, names } = scene();
  const folder = await mkdtemp(join(tmpdir(), 'millrace-partitions-'));
  try {
    await using queue = openQueue({ redis: cluster.address, ...names });
    const nodes = cluster.address.cluster?.nodes.join(',') ?? '';
    const where = ['--cluster', nodes, '--queue', names.queue, '--result', names.result];
    const how = ['--partitions', String(COUNT), '--concurrency', '8', '--lease', '2s', '--module', TASKS];
    await using killed = spawnProgram([...where, ...how, '--id', 'killed']);
    await killed.reports(LogEvent.Ready);
    const begins = (id: string): string => join(folder, id);
    const ids = Array.from({ length: 8 }, (_, n) => `task-${n}`);
    expect(new Set(ids.map((id) => partitionOf(id, COUNT))).size).toBeGreaterThan(1);
    const untilFile = join(folder, 'never');
    await queue.enqueueMany(ids.map((id) => ({ id, beganFile: begins(id), untilFile })));
    await eventually(() => expect(ids.filter((id) => !existsSync(begins(id)))).toEqual([]));
    killed.signal('SIGKILL');
    await killed.ended;
    const handler = (task: unknown): string => `again ${(task as { id: string }).id}`;
    await using worker = startWorker(cluster, plain, {
      handler,
      partitions: COUNT,
      leaseMs: 2_000,
      concurrency: 8,
    });
    await worker.ready();
    const results = await Promise.all(ids.map((id) => queue.result(id, { timeoutMs: 60_000 })));
    expect(results).toEqual(ids.map((id) => `again ${id}`));
  } finally {
    await rm(folder, { recursive: true });
  }
});
