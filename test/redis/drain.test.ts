/** Draining by order of the controller, with real workers: what they hand back, finish and announce, and coming back. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { drainWorkers, endWaits, type DrainOrder } from '../../queue/workers/drain.ts';
import type { WorkerLoad } from '../../queue/workers/worker-load.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { eventually, sooner, throughout } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, startHandWorker } from '../support/turns.ts';
import { resultsOf, startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

async function mark(
  keys: QueueKeys,
  verdict: DrainOrder,
  ...ids: string[]
): Promise<(WorkerLoad | undefined)[]> {
  const loads = await drainWorkers(() => redis, [keys], new Map(ids.map((id) => [id, verdict])));
  return ids.map((id) => loads.get(id));
}

async function stateOf(keys: QueueKeys, id: string): Promise<string | undefined> {
  const [load] = await mark(keys, 'read', id);
  return load && `${load.state} ${load.inFlight}`;
}

/** Tasks that end when the test says so. */
function gated(): {
  handler: (task: unknown) => Promise<unknown>;
  open: (task: string) => void;
  begun: string[];
} {
  const gates = new Map<string, PromiseWithResolvers<void>>();
  const gate = (task: string): PromiseWithResolvers<void> => {
    const found = gates.get(task) ?? Promise.withResolvers<void>();
    gates.set(task, found);
    return found;
  };
  const begun: string[] = [];
  return {
    begun,
    open: (task) => gate(task).resolve(),
    handler: async (task) => {
      begun.push(String(task));
      await gate(String(task)).promise;
      return `done ${String(task)}`;
    },
  };
}

test('an idle worker that is woken reports drained immediately, and takes nothing until it may again', async () => {
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler: (task) => task });
  // at its next turn by itself it would take a second
  await sooner(500, async () => {
    await mark(keys, 'stay', worker.id);
    await eventually(async () => {
      const [load] = await mark(keys, 'read', worker.id);
      expect(load).toMatchObject({ state: 'idle', blockers: [expect.any(Number)] });
    });
    const marked = await drainWorkers(() => redis, [keys], new Map([[worker.id, 'leave']]));
    const began = performance.now();
    await endWaits(redis, marked.values());
    await eventually(async () => expect(await stateOf(keys, worker.id)).toBe('drained 0'));
    return performance.now() - began;
  });

  await redis.lpush(keys.queue, 'a', 'b');
  await throughout(700, async () => expect(await redis.llen(keys.queue)).toBe(2));
  await mark(keys, 'stay', worker.id);
  await resultsOf(redis, keys.result, 2);
  expect(worker.epochs).toBe(1);
});

test('one that is not woken still drains within two seconds', async () => {
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler: (task) => task });
  await worker.ready();
  await eventually(async () => expect(await stateOf(keys, worker.id)).toBe('idle 0'));
  await sooner(2_000, async () => {
    await mark(keys, 'stay', worker.id);
    await eventually(async () => expect(await stateOf(keys, worker.id)).toBe('idle 0'));
    const began = performance.now();
    await mark(keys, 'leave', worker.id);
    await eventually(async () => expect(await stateOf(keys, worker.id)).toBe('drained 0'));
    return performance.now() - began;
  });
});

test('a busy one hands back what it has not started, finishes what it runs, and then reports drained', async () => {
  const keys = freshKeys();
  const { handler, open, begun } = gated();
  const first = startWorker(server, keys, { handler, concurrency: 2 });
  await using _first = first;
  await redis.lpush(keys.queue, 'a', 'b', 'c');
  await eventually(() => expect(begun).toEqual(['a', 'b']));
  await mark(keys, 'leave', first.id);
  await eventually(async () => expect(await stateOf(keys, first.id)).toBe('draining 2'));
  open('a');
  await resultsOf(redis, keys.result, 1);
  await eventually(async () => expect(await stateOf(keys, first.id)).toBe('draining 1'));
  expect(begun).toEqual(['a', 'b']);
  // result and state are one turn: whoever reads drained reads the result too
  open('b');
  await eventually(async () => expect(await stateOf(keys, first.id)).toBe('drained 0'));
  expect(await redis.hgetall(keys.result)).toEqual({ a: 'done a', b: 'done b' });
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['c']);
});

test('prefetched tasks are back immediately, in their order', async () => {
  const keys = freshKeys();
  const { handler, open, begun } = gated();
  const quick = async (task: unknown): Promise<unknown> =>
    String(task).startsWith('quick') ? task : await handler(task);
  await using worker = startWorker(server, keys, { handler: quick });
  // fast ones first: it then takes a hundred at a time
  await redis.lpush(keys.queue, ...Array.from({ length: 200 }, (_, i) => `quick ${i}`));
  await resultsOf(redis, keys.result, 200);
  await redis.lpush(keys.queue, 'slow', ...Array.from({ length: 50 }, (_, i) => `next ${i}`));
  await eventually(() => expect(begun).toEqual(['slow']));
  await mark(keys, 'leave', worker.id);
  await eventually(async () => expect(await stateOf(keys, worker.id)).toBe('draining 1'));
  const waiting = await redis.lrange(keys.queue, 0, -1);
  expect(waiting.toReversed()).toEqual(Array.from({ length: 50 }, (_, i) => `next ${i}`));
  open('slow');
});

test('a worker that registers only after it was chosen drains from the start, and the mark goes with it', async () => {
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'a');
  expect(await mark(keys, 'leave', 'late')).toEqual([undefined]);
  expect((await sampleQueue(redis, keys)).leaving).toBe(1);
  const worker = startWorker(server, keys, { handler: (task) => task, id: 'late' });
  await using _worker = worker;
  await eventually(async () => expect(await stateOf(keys, 'late')).toBe('drained 0'));
  expect(await redis.llen(keys.queue)).toBe(1);
  await worker.stop();
  expect((await sampleQueue(redis, keys)).leaving).toBe(0);
});

test('of several workers, exactly those named last drain', async () => {
  const keys = freshKeys();
  await Promise.all(['a', 'b', 'c'].map((id) => startHandWorker(redis, keys, { id })));
  const drains = (): Promise<(string | null)[]> =>
    Promise.all(['a', 'b', 'c'].map((id) => redis.hget(keys.worker(id), 'drain')));
  const verdicts = (leaving: string): Map<string, DrainOrder> =>
    new Map(['a', 'b', 'c'].map((id) => [id, leaving.includes(id) ? 'leave' : 'stay']));
  await drainWorkers(() => redis, [keys], verdicts('ab'));
  expect(await drains()).toEqual([expect.any(String), expect.any(String), null]);
  await drainWorkers(() => redis, [keys], verdicts('bc'));
  expect(await drains()).toEqual([null, expect.any(String), expect.any(String)]);
  expect((await sampleQueue(redis, keys)).leaving).toBe(2);
  await drainWorkers(() => redis, [keys], verdicts(''));
  expect(await drains()).toEqual([null, null, null]);
  expect((await sampleQueue(redis, keys)).leaving).toBe(0);
});

test('reading a worker, marking one that does not exist, and naming none leave no keys behind', async () => {
  const keys = freshKeys();
  await mark(keys, 'read', 'nobody');
  await mark(keys, 'stay', 'nobody');
  await drainWorkers(() => redis, [keys], new Map());
  expect(await redis.keys(`*${keys.queue}*`)).toEqual([]);
});

test('what a person asked for outlasts the controller, until it is taken back or over', async () => {
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler: (task) => task });
  await worker.ready();
  const ask = (forMs: number): Promise<unknown> =>
    drainWorkers(() => redis, [keys], new Map([[worker.id, 'ask']]), forMs);
  await ask(60_000);
  await eventually(async () => expect(await stateOf(keys, worker.id)).toBe('drained 0'));
  await mark(keys, 'leave', worker.id); // a scale-in chooses it, for a shorter time
  await mark(keys, 'stay', worker.id); // and is called off
  await redis.lpush(keys.queue, 'a');
  await throughout(1_200, async () => expect(await redis.llen(keys.queue)).toBe(1));
  expect(Number(await redis.zscore(keys.leaving, worker.id)) - Date.now()).toBeGreaterThan(30_000);
  await mark(keys, 'release', worker.id);
  await eventually(async () => expect(await redis.hget(keys.result, 'a')).toBe('a'));
  await ask(1);
  await mark(keys, 'stay', worker.id);
  await redis.lpush(keys.queue, 'b');
  await eventually(async () => expect(await redis.hget(keys.result, 'b')).toBe('b'));
  expect(await redis.exists(keys.asked, keys.leaving)).toBe(0);
});

describe('a worker of two queues, of which a pool names one', () => {
  /** Its queues, and the worker with as many slots. */
  function two(handler: (task: unknown) => unknown): {
    named: QueueKeys;
    other: QueueKeys;
    worker: ReturnType<typeof startWorker>;
  } {
    const named = freshKeys();
    const other = { ...queueKeys(`${named.queue}-other`, named.result) };
    const queue = [named.queue, other.queue];
    return { named, other, worker: startWorker(server, named, { handler, queue, concurrency: 2 }) };
  }

  test('has drained when it holds nothing of either, and takes nothing of either until it may again', async () => {
    const { handler, open, begun } = gated();
    const { named, other, worker } = two(handler);
    await using _worker = worker;
    await worker.ready();
    await redis.lpush(other.queue, 'a');
    await eventually(() => expect(begun).toEqual(['a']));
    await mark(named, 'leave', worker.id);
    await eventually(async () => expect(await stateOf(named, worker.id)).toBe('draining 0'));
    await redis.lpush(other.queue, 'b');
    await throughout(600, async () => expect(await stateOf(named, worker.id)).toBe('draining 0'));
    open('a');
    await eventually(async () => expect(await stateOf(named, worker.id)).toBe('drained 0'));
    await throughout(600, () => expect(begun).toEqual(['a']));
    expect(await redis.lrange(other.queue, 0, -1)).toEqual(['b']);
    await mark(named, 'stay', worker.id);
    await eventually(() => expect(begun).toEqual(['a', 'b']));
    expect(await stateOf(named, worker.id)).toMatch(/^(idle|busy) 0$/);
    open('b');
    await resultsOf(redis, named.result, 2);
  });

  test('never holds a task while either queue has it as drained, whichever is marked', async () => {
    const { named, other, worker } = two(() => new Promise((resolve) => setTimeout(resolve, 1, 'done')));
    await using _worker = worker;
    await worker.ready();
    const seen = { looks: 0, drained: 0, wrong: 0 };
    /** States and what is in flight, at one instant. */
    const look = async (): Promise<{ states: unknown[]; holds: number }> => {
      const replies = await redis
        .multi()
        .hget(named.worker(worker.id), 'state')
        .hget(other.worker(worker.id), 'state')
        .hlen(named.inflight(worker.id))
        .hlen(other.inflight(worker.id))
        .exec();
      const [one, two_, ...held] = (replies ?? []).map(([, value]) => value);
      return { states: [one, two_], holds: held.reduce<number>((sum, count) => sum + Number(count), 0) };
    };
    let over = false;
    const watching = (async () => {
      while (!over) {
        const { states, holds } = await look();
        seen.looks++;
        if (!states.includes('drained')) continue;
        seen.drained++;
        if (holds > 0) seen.wrong++;
      }
    })();
    let tasks = 0;
    for (const told of [named, other, named, other]) {
      for (const { queue } of [named, other])
        await redis.lpush(queue, ...Array.from({ length: 30 }, () => String(tasks++)));
      await mark(told, 'leave', worker.id);
      await eventually(async () => expect((await look()).states).toContain('drained'));
      await mark(told, 'stay', worker.id);
      await resultsOf(redis, named.result, tasks);
    }
    over = true;
    await watching;
    expect(seen).toMatchObject({ drained: expect.any(Number), wrong: 0 });
    expect(seen.drained).toBeGreaterThan(4);
  });
});
