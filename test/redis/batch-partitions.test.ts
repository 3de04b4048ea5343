/** Batches of a queue in partitions, each of which counts its share: on one server, and in a Redis Cluster. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { QueueKeys } from '../../queue/keys.ts';
import { partitionOf } from '../../queue/partitions.ts';
import { nested, openQueue, TaskCancelled } from '../../queue/queue.ts';
import {
  occurrences,
  openScene,
  PARTITIONS,
  places,
  workIn,
  type Place,
} from '../support/batch-partitions.ts';
import { numbers } from '../support/batches.ts';
import { eventually } from '../support/eventually.ts';

describe.each(places)('%s', (_, start) => {
  let place: Place;
  beforeAll(async () => {
    place = await start();
  });
  afterAll(() => place[Symbol.asyncDispose]());

  test('its parts are spread, and the task that follows finds their results in their order', async () => {
    await using scene = await openScene(place);
    const { queue, lists, redisOf, plain } = scene;
    const batch = await queue.batch(numbers(3_000), { id: 'b', then: { kind: 'sum' } });
    expect(batch).toEqual({ id: 'b', size: 3_000, then: 'b:then' });
    for (const keys of lists) expect(await redisOf(keys).llen(keys.queue)).toBeGreaterThan(500);
    expect(await queue.batch.show('b')).toMatchObject({ state: 'running', size: 3_000, left: 3_000 });
    await expect(queue.batch(numbers(1), { id: 'b' })).rejects.toThrow(/exists already/);
    const unique = { millrace: { unique: 'k' } };
    await expect(queue.batch([unique], { id: 'u' })).rejects.toThrow(/part u:0 of batch "u" is unique/);
    const after = queue.batch(numbers(1), { id: 'u', then: unique });
    await expect(after).rejects.toThrow(/"then" of batch "u" is unique .* in a queue in partitions/);
    let runs = 0;
    await using _worker = workIn(place, scene, ({ n, parts }: { n: number; parts?: unknown }) => {
      if (!parts) return 2 * n;
      runs++;
      return parts;
    });
    await using _other = workIn(
      place,
      scene,
      ({ n, parts }: { n: number; parts?: unknown }) => parts ?? 2 * n,
    );
    const told = (await queue.result('b:then', { as: 'json' })) as { ids: string };
    expect(told).toMatchObject({
      batch: 'b',
      size: 3_000,
      succeeded: 3_000,
      results: plain.result,
      partitions: PARTITIONS,
    });
    // as any client can: each result is in the hash that the CRC-32 of its id names
    const home = lists.find((keys) => told.ids === keys.batchIds('b'));
    const ids = await redisOf(home as QueueKeys).lrange(told.ids, 0, -1);
    expect(ids).toEqual(numbers(3_000).map(({ n }) => `b:${n}`));
    const [id = ''] = ids;
    const first = lists[partitionOf(id, PARTITIONS)] as QueueKeys;
    expect(await redisOf(first).hget(first.result, id)).toBe('0');
    const values: string[] = [];
    for await (const { value } of queue.batch.results('b')) values.push(value ?? '');
    expect(values).toEqual(numbers(3_000).map(({ n }) => String(2 * n)));
    expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', succeeded: 3_000, left: 0 });
    expect(await queue.batch.list()).toHaveLength(1);
    expect(runs).toBeLessThanOrEqual(1);
    for (const keys of lists) {
      await eventually(async () => expect(await redisOf(keys).exists(keys.batchReports)).toBe(0));
      expect(await redisOf(keys).exists(keys.batchLeft('b'), keys.batchShares('b'))).toBe(0);
    }
  });

  test('a client that does not know all of its partitions is refused', async () => {
    await using scene = await openScene(place);
    const { queue, plain } = scene;
    // counted as a whole in partition 0
    const ids = numbers(100).map(({ n }) => `b${n}`);
    const id = ids.find((name) => partitionOf(`${name}:then`, PARTITIONS) === 0) ?? '';
    await queue.batch(numbers(30), { id });
    const { queue: name, result } = plain;
    const few = openQueue({ redis: place.address, queue: name, result, partitions: PARTITIONS - 1 });
    await using _closed = { [Symbol.asyncDispose]: () => few.close() };
    await expect(few.batch.show(id)).rejects.toThrow(
      / is not among the \d+ that this client knows: open the queue with/,
    );
    const first = few.batch.results(id)[Symbol.asyncIterator]().next();
    await expect(first).rejects.toThrow(
      `batch "${id}" is in ${PARTITIONS} partitions, and this client knows ${PARTITIONS - 1}: open the queue with`,
    );
  });

  test('when a part fails, what is left in all partitions is cancelled', async () => {
    await using scene = await openScene(place);
    const { queue } = scene;
    await queue.batch(
      numbers(40).map(({ n }) => ({ n, fails: n === 7 })),
      { id: 'b', then: { k: 1 }, onFailure: 'cancel' },
    );
    const { promise: failed, resolve } = Promise.withResolvers<void>();
    await using _worker = workIn(place, scene, async ({ fails }: { fails: boolean }, { signal }) => {
      if (fails) {
        resolve();
        throw new Error('no luck');
      }
      await failed;
      await new Promise((__, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason as Error)),
      );
    });
    await expect(queue.result('b:then')).rejects.toThrow(/batch "b" failed.*b:7.*no luck/);
    expect(await queue.batch.show('b')).toMatchObject({ state: 'failed', size: 40, failed: 1, left: 0 });
    expect(await occurrences(scene, 'b:then')).toEqual(['dead']);
  });

  test('a part that fails while others are being added', async () => {
    await using scene = await openScene(place);
    const { queue } = scene;
    await using _worker = workIn(place, scene, ({ fails }: { fails?: true }) => {
      if (fails) throw new Error('no luck');
    });
    async function* parts() {
      // as many as are sent at a time
      yield* [{ fails: true }, ...numbers(PARTITIONS * 1_000 - 1)];
      await eventually(async () => expect(await queue.batch.show('b')).toMatchObject({ failed: 1 }));
      yield* numbers(PARTITIONS * 1_000 + 1);
    }
    const adding = queue.batch(parts(), { id: 'b', then: { k: 1 }, onFailure: 'cancel' });
    await expect(adding).rejects.toThrow(/batch "b" ended while parts were being added to it/);
    await eventually(async () =>
      expect(await queue.batch.show('b')).toMatchObject({ state: 'failed', left: 0, failed: 1 }),
    );
    expect(await occurrences(scene, 'b:then')).toEqual(['dead']);
  });

  test('a part that fails when all have been sent is no error of who adds them', async () => {
    await using scene = await openScene(place);
    const { queue } = scene;
    await using _worker = workIn(place, scene, ({ fails }: { fails?: true }) => {
      if (fails) throw new Error('no luck');
    });
    // as many as are sent at a time
    const count = PARTITIONS * 1_000;
    async function* parts() {
      yield* [{ fails: true }, ...numbers(count - 1)];
      await eventually(async () => expect(await queue.batch.show('b')).toMatchObject({ failed: 1 }));
    }
    const batch = await queue.batch(parts(), { id: 'b', then: { k: 1 }, onFailure: 'cancel' });
    expect(batch).toEqual({ id: 'b', size: count, then: 'b:then' });
    await expect(queue.result('b:then')).rejects.toThrow(/batch "b" failed.*b:0.*no luck/);
  });

  test('it waits for a dead letter in any partition, or goes on without', async () => {
    await using scene = await openScene(place);
    const { queue } = scene;
    let works = false;
    await using _worker = workIn(place, scene, ({ n, parts }: { n: number; parts?: { failed: number } }) => {
      if (parts) return parts.failed;
      if (n < 2 && !works) throw new Error('not yet');
      return n;
    });
    await queue.batch(numbers(20), { id: 'waits', then: { k: 1 } });
    await queue.batch(numbers(20), { id: 'goes on', then: { k: 1 }, onFailure: 'continue' });
    expect(await queue.result('goes on:then')).toBe('2');
    await eventually(async () =>
      expect(await queue.batch.show('waits')).toMatchObject({ state: 'running', waiting: 2, left: 2 }),
    );
    works = true;
    await queue.dead.requeue('all');
    expect(await queue.result('waits:then')).toBe('0');
  });

  test('batches in batches, and tasks that tasks add', async () => {
    await using scene = await openScene(place);
    const { queue } = scene;
    type Task = { n?: number; add?: number; parts?: { batch: string; size: number } };
    await using _worker = workIn(place, scene, ({ add = 0, parts }: Task, { spawn, id }) => {
      if (parts) return parts.size;
      spawn(Array.from({ length: add }, (__, n) => ({ n })));
      return String(id);
    });
    const inner = (count: number) => nested(numbers(count), { then: { k: 'inner' } });
    await queue.batch([{ add: 3 }, inner(30), { add: 2 }, inner(9)], { id: 'o', then: { k: 'outer' } });
    expect(await queue.result('o:then')).toBe('9');
    const ids: string[] = [];
    for await (const { id, value } of queue.batch.results('o')) {
      ids.push(id);
      expect(value).toBe({ 'o:1:then': '30', 'o:3:then': '9' }[id] ?? id);
    }
    expect(ids.filter((id) => !id.includes('/'))).toEqual(['o:0', 'o:1:then', 'o:2', 'o:3:then']);
    expect(ids.filter((id) => id.includes('/')).toSorted()).toEqual([
      'o:0/0',
      'o:0/1',
      'o:0/2',
      'o:2/0',
      'o:2/1',
    ]);
  });

  test('a cancelled batch, with those inside of it', async () => {
    await using scene = await openScene(place);
    const { queue } = scene;
    const inner = nested(numbers(30), { then: { k: 'inner' } });
    await queue.batch([{}, inner, {}], { id: 'o', then: { k: 'outer' } });
    expect(await queue.batch.cancel('o')).toBe('cancelled');
    await using _worker = workIn(place, scene, () => 'ran');
    await expect(queue.result('o:then')).rejects.toBeInstanceOf(TaskCancelled);
    await eventually(async () => {
      expect(await queue.batch.show('o:1')).toMatchObject({ state: 'cancelled', left: 0, size: 30 });
      expect(await queue.batch.show('o')).toMatchObject({ state: 'cancelled', left: 0, size: 3 });
    });
    expect(await queue.batch.cancel('o')).toBe('over');
    expect(await queue.batch.cancel('other')).toBe('unknown');
  });
});
