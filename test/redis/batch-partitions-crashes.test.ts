/** Batches in partitions while clients, workers and servers fail: the task that follows is pushed once all the same. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sweepAll } from '../../controller/sample/read.ts';
import { partMarkOf } from '../../queue/batch-mark.ts';
import { addBatch } from '../../queue/batches/add.ts';
import { closeRedis } from '../../queue/connection/connection.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { Finished, Outcome } from '../../queue/outcomes/outcome.ts';
import { settledOf } from '../../queue/outcomes/settled.ts';
import { partitionOf } from '../../queue/partitions.ts';
import type { Part } from '../../queue/parts/part.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { nested, type FailurePolicy } from '../../queue/queue.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { parseTask } from '../../queue/task.ts';
import { deliverReports } from '../../queue/workers/batch-reports.ts';
import { tendBatches, tendShares } from '../../queue/workers/sweep.ts';
import { createLog } from '../../runtime/log.ts';
import {
  occurrences,
  openScene,
  PARTITIONS,
  places,
  type Place,
  type Scene,
} from '../support/batch-partitions.ts';
import { numbers } from '../support/batches.ts';
import { startHandWorker } from '../support/turns.ts';

describe.each(places)('%s', (_, start) => {
  let place: Place;
  beforeAll(async () => {
    place = await start();
  });
  afterAll(() => place[Symbol.asyncDispose]());

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
          const batch = partMarkOf(value, id, delivery);
          const state = batch && (await queue.batch.show(batch.id))?.state;
          const stops = state === 'failing' || state === 'cancelling';
          const outcome = stops ? ({ kind: 'cancelled' } as const) : outcomeOf(String(id));
          return { delivery, id, attempt: 1, serviceMs: 1, outcome, batch };
        });
        await worker.turn({ settled: settledOf(await Promise.all(entries), worker.id) });
      }
    }

    /** Each command of these clients is what `around` makes of it. */
    function intercepted(
      scene: Scene,
      around: (run: () => Promise<unknown>) => Promise<unknown>,
    ): Scene['redisOf'] {
      return (keys) =>
        defineScripts(
          new Proxy(scene.redisOf(keys), {
            get: (target, name) => {
              const value = Reflect.get(target, name) as unknown;
              if (typeof value !== 'function' || !/^(h|l|s)[a-z]+(Buffer)?$|^millrace:/.test(String(name)))
                return value;
              const command = value as (...all: unknown[]) => Promise<unknown>;
              return (...args: unknown[]): Promise<unknown> => around(() => command.apply(target, args));
            },
          }),
        );
    }

    /** Fails a command, before or after it has reached Redis, and all that follow. */
    function dyingAt(
      scene: Scene,
      at: number,
      reaches: boolean,
    ): { redisOf: Scene['redisOf']; dead: () => boolean } {
      let sent = 0;
      const redisOf = intercepted(scene, async (run) => {
        const isLast = ++sent === at;
        if (sent > at || (isLast && !reaches)) throw new Error('died');
        const reply = await run();
        if (isLast) throw new Error('died');
        return reply;
      });
      return { redisOf, dead: () => sent >= at };
    }

    /** What a client adds batches with. */
    function addingBy({ lists, plain }: Scene, redisOf: Scene['redisOf']): Parameters<typeof addBatch>[0] {
      const all = lists.map((keys): Part => {
        const redis = redisOf(keys);
        const resultHash = { redis, key: keys.result };
        const confirmed = async (): Promise<void> => Promise.resolve();
        return { keys, own: keys, redis, resultHash, confirmed } as unknown as Part;
      });
      return { parts: { all, current: all }, resultName: plain.result, stamp: (task) => task };
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
          await using scene = await openScene(place);
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

    test('a part that fails while the last ones arrive is no error of who adds them', async () => {
      for (let at = 1; ; at++) {
        await using scene = await openScene(place);
        const { lists, redisOf, queue } = scene;
        const runAndTell = async (): Promise<void> => {
          await runAll(scene, failing);
          for (const keys of lists) await deliverReports(redisOf, keys);
        };
        let sent = 0;
        const meanwhile = intercepted(scene, async (run) => {
          if (++sent === at) await runAndTell();
          return await run();
        });
        const added = addBatch(addingBy(scene, meanwhile), numbers(12), {
          id: 'b',
          then: { k: 1 },
          onFailure: 'cancel',
        });
        expect(await added, `command ${at}`).toEqual({ id: 'b', size: 12, then: 'b:then' });
        for (let times = 0; times < 3; times++) await runAndTell();
        expect(await queue.batch.show('b'), `command ${at}`).toMatchObject({ state: 'failed', left: 0 });
        expect(await occurrences(scene, 'b:then')).toEqual(['dead']);
        if (sent < at) break;
      }
    });

    test('who is late forgets nothing that was noted since', async () => {
      const listOf = (id: string): number => partitionOf(id, PARTITIONS);
      const ids = numbers(12).map((_part, i) => `b:${i}`);
      const ofShare = ids.find((id) => listOf(id) !== listOf('b:then'));
      for (let at = 1; ; at++) {
        await using scene = await openScene(place);
        const { lists, redisOf, queue } = scene;
        await queue.batch(numbers(12), { id: 'b', then: { k: 1 }, onFailure: 'cancel' });
        await runAll(scene, (id) => (id === ofShare ? { kind: 'dead', error: 'no' } : { kind: 'release' }));
        let sent = 0;
        const late = intercepted(scene, async (run) => {
          if (++sent === at) {
            for (const keys of lists) await deliverReports(redisOf, keys);
            await runAll(scene, () => done);
          }
          return await run();
        });
        for (const keys of lists) await deliverReports(late, keys);
        for (const keys of lists) await deliverReports(redisOf, keys);
        if (sent < at) break;
        expect(await queue.batch.show('b'), `command ${at}`).toMatchObject({ state: 'failed', left: 0 });
      }
    });

    test('the controller sees what was not told, and tells it', async () => {
      await using scene = await openScene(place);
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
          await using scene = await openScene(place);
          const { lists, redisOf, queue } = scene;
          const dying = dyingAt(scene, at, reaches);
          const inner = nested(numbers(5), { then: { k: 2 } });
          const adding = addingBy(scene, dying.redisOf);
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
    await using scene = await openScene(place);
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
