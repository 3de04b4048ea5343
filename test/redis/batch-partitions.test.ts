/** Batches of a queue in partitions, each of which counts its share: on one server, and in a Redis Cluster. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { partMarkOf } from '../../queue/batch-mark.ts';
import { closeRedis, type RedisAddress } from '../../queue/connection/connection.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { parseDead } from '../../queue/dead-letter-format.ts';
import { sweepAll } from '../../controller/sample/read.ts';
import { addBatch } from '../../queue/batches/add.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { Part } from '../../queue/parts/part.ts';
import type { Finished, Outcome } from '../../queue/outcomes/outcome.ts';
import { settledOf } from '../../queue/outcomes/settled.ts';
import { partitionKeys, partitionOf } from '../../queue/partitions.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { createLog } from '../../runtime/log.ts';
import { nested, openQueue, TaskCancelled, type FailurePolicy, type Queue } from '../../queue/queue.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { parseTask } from '../../queue/task.ts';
import { deliverReports } from '../../queue/workers/batch-reports.ts';
import { tendShares, tendBatches } from '../../queue/workers/sweep.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys, startHandWorker } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

const PARTITIONS = 4;

interface Place extends AsyncDisposable {
  readonly address: RedisAddress;
  clientOf(key: string): Promise<Redis>;
  ownerOf(key: string): Promise<{ readonly address: RedisAddress }>;
}

async function oneServer(): Promise<Place> {
  const server = await startRedis();
  const redis = server.client();
  const [clientOf, ownerOf] = [() => Promise.resolve(redis), () => Promise.resolve(server)];
  return Object.assign(server, { clientOf, ownerOf });
}

describe.each([
  ['on one server', oneServer],
  ['in a Redis Cluster', startCluster],
])('%s', (_, start: () => Promise<Place>) => {
  let place: Place;
  beforeAll(async () => {
    place = await start();
  });
  afterAll(() => place[Symbol.asyncDispose]());

  interface Scene extends AsyncDisposable {
    readonly plain: QueueKeys;
    readonly lists: readonly QueueKeys[];
    readonly queue: Queue;
    readonly redisOf: (keys: QueueKeys) => Redis;
  }

  async function open(): Promise<Scene> {
    const plain = freshKeys();
    const lists = partitionKeys(plain.queue, plain.result, PARTITIONS);
    const clients = new Map<string, Redis>();
    for (const { queue } of lists) clients.set(queue, await place.clientOf(queue));
    const queue = openQueue({
      redis: place.address,
      queue: plain.queue,
      result: plain.result,
      partitions: PARTITIONS,
    });
    return {
      plain,
      lists,
      queue,
      redisOf: ({ queue: name }) => clients.get(name) as Redis,
      [Symbol.asyncDispose]: () => queue.close(),
    };
  }

  const work = ({ plain }: Scene, handler: (task: never, context: TaskContext) => unknown) =>
    startWorker(place, plain, {
      handler: handler as (task: unknown, context: TaskContext) => unknown,
      partitions: PARTITIONS,
      concurrency: 50,
      retry: { attempts: 1, backoff: { initialMs: 1, maxMs: 1, jitter: false } },
    });

  /** Of all partitions: how often a task with this id waits, is a dead letter, or was reported as cancelled. */
  async function occurrences({ lists, redisOf }: Scene, id: string): Promise<string[]> {
    const found = lists.map(async (keys) => {
      const redis = redisOf(keys);
      const [waiting, dead, failed] = await Promise.all([
        redis.lrange(keys.queue, 0, -1),
        redis.lrangeBuffer(keys.dead, 0, -1),
        redis.hget(keys.errors, id),
      ]);
      const is = (raw: Buffer | string): boolean => parseTask(Buffer.from(raw)).id === id;
      return [
        ...waiting.filter(is).map(() => 'waits'),
        ...dead.filter((letter) => is(parseDead(letter).raw)).map(() => 'dead'),
        ...(failed?.includes('"cancelled":true') ? ['cancelled'] : []),
      ];
    });
    return (await Promise.all(found)).flat();
  }

  const numbers = (count: number): { n: number }[] => Array.from({ length: count }, (__, n) => ({ n }));

  test('its parts are spread, and the task that follows finds their results in their order', async () => {
    await using scene = await open();
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
    await using _worker = work(scene, ({ n, parts }: { n: number; parts?: unknown }) => {
      if (!parts) return 2 * n;
      runs++;
      return parts;
    });
    await using _other = work(scene, ({ n, parts }: { n: number; parts?: unknown }) => parts ?? 2 * n);
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
    await using scene = await open();
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
    await using scene = await open();
    const { queue } = scene;
    await queue.batch(
      numbers(40).map(({ n }) => ({ n, fails: n === 7 })),
      { id: 'b', then: { k: 1 }, onFailure: 'cancel' },
    );
    const { promise: failed, resolve } = Promise.withResolvers<void>();
    await using _worker = work(scene, async ({ fails }: { fails: boolean }, { signal }) => {
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
    await using scene = await open();
    const { queue } = scene;
    await using _worker = work(scene, ({ fails }: { fails?: true }) => {
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

  test('it waits for a dead letter in any partition, or goes on without', async () => {
    await using scene = await open();
    const { queue } = scene;
    let works = false;
    await using _worker = work(scene, ({ n, parts }: { n: number; parts?: { failed: number } }) => {
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
    await using scene = await open();
    const { queue } = scene;
    type Task = { n?: number; add?: number; parts?: { batch: string; size: number } };
    await using _worker = work(scene, ({ add = 0, parts }: Task, { spawn, id }) => {
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
    await using scene = await open();
    const { queue } = scene;
    const inner = nested(numbers(30), { then: { k: 'inner' } });
    await queue.batch([{}, inner, {}], { id: 'o', then: { k: 'outer' } });
    expect(await queue.batch.cancel('o')).toBe('cancelled');
    await using _worker = work(scene, () => 'ran');
    await expect(queue.result('o:then')).rejects.toBeInstanceOf(TaskCancelled);
    await eventually(async () => {
      expect(await queue.batch.show('o:1')).toMatchObject({ state: 'cancelled', left: 0, size: 30 });
      expect(await queue.batch.show('o')).toMatchObject({ state: 'cancelled', left: 0, size: 3 });
    });
    expect(await queue.batch.cancel('o')).toBe('over');
    expect(await queue.batch.cancel('other')).toBe('unknown');
  });

  describe('whoever dies at whichever command', () => {
    /** What hand workers make of all tasks that wait. */
    async function runAll(
      { lists, redisOf, queue }: Scene,
      outcomeOf: (id: string) => Outcome,
    ): Promise<void> {
      for (const keys of lists) {
        const worker = await startHandWorker(redisOf(keys), keys);
        const { tasks } = await worker.turn({ want: 100 });
        const entries = tasks.map(async (delivery): Promise<Finished> => {
          const { id, value } = parseTask(delivery.raw);
          const batch = partMarkOf(value, id, delivery.raw);
          const state = batch && (await queue.batch.show(batch.id))?.state;
          const stops = state === 'failing' || state === 'cancelling';
          const outcome = stops ? ({ kind: 'cancelled' } as const) : outcomeOf(String(id));
          return { delivery, id, attempt: 1, serviceMs: 1, outcome, batch };
        });
        await worker.turn({ settled: settledOf(await Promise.all(entries), worker.id) });
      }
    }

    /** Fails a command, before or after it has reached Redis, and all that follow. */
    function dyingAt(
      scene: Scene,
      at: number,
      reaches: boolean,
    ): { redisOf: Scene['redisOf']; dead: () => boolean } {
      let sent = 0;
      const through = (redis: Redis): Redis =>
        defineScripts(
          new Proxy(redis, {
            get: (target, name) => {
              const value = Reflect.get(target, name) as unknown;
              if (typeof value !== 'function' || !/^(h|l|s)[a-z]+(Buffer)?$|^millrace:/.test(String(name)))
                return value;
              return async (...args: unknown[]): Promise<unknown> => {
                const isLast = ++sent === at;
                if (sent > at || (isLast && !reaches)) throw new Error('died');
                const reply: unknown = await (value as (...all: unknown[]) => unknown).apply(target, args);
                if (isLast) throw new Error('died');
                return reply;
              };
            },
          }),
        );
      return { redisOf: (keys) => through(scene.redisOf(keys)), dead: () => sent >= at };
    }

    const done = { kind: 'result', value: 'done' } as const;
    const failing = (id: string): Outcome => (id === 'b:3' ? { kind: 'dead', error: 'no' } : done);
    const cases: readonly [string, FailurePolicy, (id: string) => Outcome, string][] = [
      ['all parts succeed', 'wait', () => done, 'waits'],
      ['one fails, and they go on', 'continue', failing, 'waits'],
      ['one fails, and the rest is cancelled', 'cancel', failing, 'dead'],
    ];
    test.each(cases)('%s', async (__, onFailure, outcomeOf, ends) => {
      let crashes = 0;
      for (const reaches of [false, true])
        for (let at = 1; ; at++) {
          await using scene = await open();
          const { lists, redisOf, queue } = scene;
          await queue.batch(numbers(12), { id: 'b', then: { k: 1 }, onFailure });
          const dying = dyingAt(scene, at, reaches);
          await runAll(scene, outcomeOf);
          for (const keys of lists) await deliverReports(dying.redisOf, keys).catch(() => undefined);
          await runAll(scene, (id) => (id === 'b:then' ? { kind: 'release' } : outcomeOf(id)));
          for (let times = 0; times < 2; times++)
            for (const keys of lists) await deliverReports(redisOf, keys);
          expect(await occurrences(scene, 'b:then'), `command ${at}`).toEqual([ends]);
          expect(await queue.batch.show('b')).toMatchObject({
            size: 12,
            left: 0,
            state: ends === 'dead' ? 'failed' : 'ended',
          });
          for (const keys of lists) expect(await redisOf(keys).exists(keys.batchReports)).toBe(0);
          if (!dying.dead()) break;
          crashes++;
        }
      expect(crashes).toBeGreaterThan(20);
    });

    test('the controller sees what was not told, and tells it', async () => {
      await using scene = await open();
      const { lists, queue } = scene;
      await using stack = new AsyncDisposableStack();
      const bounded = new Map<string, Redis>();
      for (const { queue: name } of lists) {
        const redis = defineScripts(openBounded((await place.ownerOf(name)).address));
        stack.defer(() => closeRedis(redis));
        bounded.set(name, redis);
      }
      const redisOf = ({ queue: name }: QueueKeys): Redis => bounded.get(name) as Redis;
      await queue.batch(numbers(12), { id: 'b', then: { k: 1 } });
      const overdue = async (): Promise<boolean[]> =>
        await Promise.all(lists.map(async (keys) => (await sampleQueue(redisOf(keys), keys)).overdue));
      expect(await overdue()).toEqual(lists.map(() => false));
      await runAll(scene, () => done);
      const home = partitionOf('b:then', PARTITIONS);
      expect(await overdue()).toEqual(lists.map((__, i) => i !== home));
      const log = createLog('controller', 'error', { write: () => undefined });
      await sweepAll({ redisOf, log }, lists);
      expect(await overdue()).toEqual(lists.map(() => false));
      expect(await occurrences(scene, 'b:then')).toEqual(['waits']);
    });

    test('a client that adds parts leaves a batch that can be cancelled, and then ends', async () => {
      const states = new Set<string>();
      for (const reaches of [false, true])
        for (let at = 1; ; at++) {
          await using scene = await open();
          const { lists, redisOf, queue, plain } = scene;
          const dying = dyingAt(scene, at, reaches);
          const all = lists.map((keys): Part => {
            const redis = dying.redisOf(keys);
            const resultHash = { redis, key: keys.result };
            const confirmed = async (): Promise<void> => Promise.resolve();
            return { keys, own: keys, redis, resultHash, confirmed } as unknown as Part;
          });
          const parts = { all, current: all };
          const inner = nested(numbers(5), { then: { k: 2 } });
          const adding = { parts, resultName: plain.result, stamp: (task: unknown) => task };
          const added = addBatch(adding, [...numbers(8), inner, ...numbers(3)], { id: 'b', then: { k: 1 } });
          await added.catch(() => undefined);
          const state = (await queue.batch.show('b'))?.state ?? 'unknown';
          states.add(state);
          await queue.batch.cancel('b');
          for (let times = 0; times < 3; times++) {
            await runAll(scene, () => done);
            for (const keys of lists) await deliverReports(redisOf, keys);
          }
          const view = await queue.batch.show('b');
          if (state !== 'unknown')
            expect(view, `command ${at}`).toMatchObject({ state: 'cancelled', left: 0 });
          expect(await occurrences(scene, 'b:then')).toEqual(state === 'unknown' ? [] : ['cancelled']);
          if (!dying.dead()) break;
        }
      expect([...states].toSorted()).toEqual(['adding', 'running', 'unknown']);
    });
  });

  test('parts that ended uncounted, and what a server that went back has forgotten, are found', async () => {
    await using scene = await open();
    const { lists, redisOf, queue } = scene;
    await queue.batch(numbers(12), { id: 'b', then: { k: 1 } });
    // as plain workers do
    for (const keys of lists)
      for (let raw; (raw = await redisOf(keys).rpop(keys.queue));)
        await redisOf(keys).hset(keys.result, String(parseTask(Buffer.from(raw)).id), 'done');
    const home = lists[partitionOf('b:then', PARTITIONS)] as QueueKeys;
    const kept = [home.batch('b'), home.batchShares('b')];
    const before = await Promise.all(kept.map((key) => redisOf(home).dumpBuffer(key)));
    for (const keys of lists) if (keys !== home) await tendShares(redisOf, keys, 0);
    expect(await redisOf(home).exists(home.batchShares('b'))).toBe(0);
    for (const [i, key] of kept.entries())
      await redisOf(home).restore(key, 0, before[i] as Buffer, 'REPLACE');
    expect(await queue.batch.show('b')).toMatchObject({ state: 'running', succeeded: 12 - (await mine()) });
    await tendBatches(redisOf(home), home, 0);
    await tendShares(redisOf, home, 0);
    expect(await queue.batch.show('b')).toMatchObject({ state: 'ended', succeeded: 12 });
    expect(await occurrences(scene, 'b:then')).toEqual(['waits']);

    async function mine(): Promise<number> {
      return await redisOf(home).scard(home.batchLeft('b'));
    }
  });
});
