/** The limits of a queue in the scripts of turns: what is given out when, in which order, and what counts for a key. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { QueueLimits } from '../../queue/limits/definition.ts';
import { removeLimits, setLimits, showLimits } from '../../queue/limits/limits.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { defineScripts, script } from '../../queue/scripts/scripts.ts';
import { reap } from '../../queue/workers/reap.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { done, freshKeys, startHandWorker, texts, type HandWorker, type Held } from '../support/turns.ts';

let server: RedisServer;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis({ ownClock: true });
  redis = defineScripts(openRedis(server.address));
});
afterAll(async () => {
  await closeRedis(redis);
  await server[Symbol.asyncDispose]();
});

async function queueWith(limits: QueueLimits, ...tasks: string[]): Promise<QueueKeys> {
  const keys = freshKeys();
  if (tasks.length > 0) await redis.lpush(keys.queue, ...tasks);
  await setLimits(redis, keys, limits, 'test');
  return keys;
}

const of = (customer: string, n: number): string => JSON.stringify({ customer, n });
/** `a1` */
const short = (held: Held): string[] =>
  texts(held.tasks).map((raw) => {
    const { customer, n } = JSON.parse(raw) as { customer: string; n: number };
    return `${customer}${n}`;
  });
const settle = async (worker: HandWorker, held: Held, want = 0): Promise<Held> =>
  worker.turn({ want, settled: { results: held.tasks.map((task) => done(task)) } });

describe('concurrency of the queue', () => {
  test('counts what all workers hold', async () => {
    const keys = await queueWith({ concurrency: 2 }, '1', '2', '3', '4');
    const [one, two] = [await startHandWorker(redis, keys), await startHandWorker(redis, keys)];
    const first = await one.turn({ want: 1 });
    expect(texts(first.tasks)).toEqual(['1']);
    const second = await two.turn({ want: 5 });
    expect([texts(second.tasks), second.limits, second.length]).toEqual([['2'], 'closed', 2]);
    expect((await two.turn({ want: 5 })).tasks).toEqual([]);
    expect(texts((await settle(one, first, 5)).tasks)).toEqual(['3']);
    await reap(redis, keys, two.id, 'any', 'displaced', 0);
    expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['4', '2']);
    const last = await one.turn({ want: 5 });
    expect([texts(last.tasks), last.limits]).toEqual([['2'], 'closed']);
  });

  test('a task that was moved to a worker goes back to where it was', async () => {
    const keys = await queueWith({ concurrency: 1 }, '1', '2', '3');
    const [one, two] = [await startHandWorker(redis, keys), await startHandWorker(redis, keys)];
    await one.turn({ want: 1 });
    await redis.lmove(keys.queue, keys.wake(two.id), 'RIGHT', 'LEFT');
    expect((await two.turn({ want: 1 })).tasks).toEqual([]);
    expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['3', '2']);
  });

  test('open while nothing waits, so that workers can block', async () => {
    const keys = await queueWith({ concurrency: 1 }, '1');
    const worker = await startHandWorker(redis, keys);
    expect((await worker.turn({ want: 2 })).limits).toBe('open');
  });
});

describe('rate of the queue', () => {
  test('begins with a burst, then one at a time, and a worker is told when', async () => {
    const keys = await queueWith({ rate: '2/h', burst: 3 }, '1', '2', '3', '4');
    const worker = await startHandWorker(redis, keys);
    const first = await worker.turn({ want: 10 });
    expect([texts(first.tasks), first.limits]).toEqual([['1', '2', '3'], 'closed']);
    // in half an hour: workers make turns until then anyway
    expect(first.dueInMs).toBeUndefined();
    await setLimits(redis, keys, { rate: '600/m', burst: 1 }, 'test');
    const second = await worker.turn({ want: 10 });
    expect(second.dueInMs).toBeGreaterThan(0);
    expect(second.dueInMs).toBeLessThanOrEqual(101);
  });

  test('of many idle workers, each is told another time', async () => {
    const keys = await queueWith({ rate: '20/s', burst: 1 }, ...Array.from({ length: 50 }, (_, i) => `${i}`));
    const workers = await Promise.all(Array.from({ length: 5 }, async () => startHandWorker(redis, keys)));
    await workers[0]?.turn({ want: 1 });
    const told: number[] = [];
    for (const worker of workers) {
      const reply = await worker.turn({ want: 1, seen: 0 < told.length ? 0 : 1 });
      if (reply.tasks.length === 0) told.push(reply.now + (reply.dueInMs ?? 0));
    }
    const gaps = told.slice(1).map((at, i) => at - (told[i] ?? 0));
    expect(gaps.every((gap) => gap >= 49)).toBe(true);
  });
});

describe('keys', () => {
  test('run so many at once, in order, and let others pass', async () => {
    const keys = await queueWith(
      { perKey: { field: 'customer', concurrency: 1 } },
      of('a', 1),
      of('a', 2),
      of('b', 1),
      of('a', 3),
      'plain',
      of('b', 2),
    );
    const worker = await startHandWorker(redis, keys);
    const first = await worker.turn({ want: 10 });
    expect(texts(first.tasks)).toEqual([of('a', 1), of('b', 1), 'plain']);
    expect([first.limits, first.length, first.dueInMs]).toEqual(['open', 0, undefined]);
    const view = await showLimits(redis, keys);
    expect(view).toMatchObject({
      by: 'test',
      held: 3,
      heldKeys: 2,
      running: 3,
      waiting: 0,
      keys: [
        { key: 'a', held: 2, running: 1 },
        { key: 'b', held: 1, running: 1 },
      ],
    });
    expect((await sampleQueue(redis, keys)).waiting).toBe(3);
    const [a1, b1] = first.tasks;
    if (!a1 || !b1) throw new Error('two tasks were taken');
    const second = await worker.turn({ want: 10, settled: { results: [done(b1)] } });
    expect(short(second)).toEqual(['b2']);
    const third = await worker.turn({ want: 10, settled: { results: [done(a1)] } });
    expect(short(third)).toEqual(['a2']);
    const last = await settle(worker, { ...third, tasks: [...second.tasks, ...third.tasks] }, 10);
    expect(short(last)).toEqual(['a3']);
    await settle(worker, last);
    expect(await redis.exists(keys.held, keys.heldDue, keys.limitSlots, keys.limitRunning)).toBe(0);
  });

  test('of tasks with text that is no Unicode, as any other', async () => {
    const odd = (customer: string, text: string): string => `{"customer":"${customer}","file":"${text}"}`;
    const keys = await queueWith(
      { perKey: { field: 'customer', concurrency: 1 } },
      ...[String.raw`caf\udce9`, String.raw`\ud83d`, String.raw`\ud83d\ud83d\ude00\ude00`].map((text) =>
        odd('a', text),
      ),
      odd(String.raw`\ud83d\ude00`, String.raw`\\ud83d\udCE9`),
      odd('😀', ''),
      odd(String.raw`\uDCE9`, ''),
      odd('\ufffd', ''),
    );
    const worker = await startHandWorker(redis, keys);
    const { tasks } = await worker.turn({ want: 10 });
    expect(
      texts(tasks).map((text) => (JSON.parse(text) as { customer: string }).customer.toWellFormed()),
    ).toEqual(['a', '😀', '\ufffd']);
    expect(await redis.zrange(keys.held, '0', '-1', 'WITHSCORES')).toEqual([
      '\ufffd',
      '1',
      '😀',
      '1',
      'a',
      '2',
    ]);
  });

  test('a rate of each', async () => {
    const keys = await queueWith(
      { perKey: { field: 'customer', rate: '10/s', burst: 1 } },
      ...[1, 2, 3].flatMap((n) => [of('a', n), of('b', n)]),
    );
    const worker = await startHandWorker(redis, keys);
    const begun: string[] = [];
    let held = await worker.turn({ want: 10 });
    expect(short(held)).toEqual(['a1', 'b1']);
    expect(held.dueInMs).toBeLessThanOrEqual(101);
    const since = held.now;
    while (begun.length < 6) {
      begun.push(...short(held));
      await new Promise((resolve) => setTimeout(resolve, held.dueInMs ?? 1));
      held = await settle(worker, held, 10);
    }
    expect(begun.filter((name) => name.startsWith('a'))).toEqual(['a1', 'a2', 'a3']);
    expect(begun.filter((name) => name.startsWith('b'))).toEqual(['b1', 'b2', 'b3']);
    expect(held.now - since).toBeGreaterThanOrEqual(199);
  });

  test('a lost worker and a released task leave no slot behind, and go first', async () => {
    const keys = await queueWith({ perKey: { field: 'customer', concurrency: 1 } }, of('a', 1), of('a', 2));
    const [one, two] = [await startHandWorker(redis, keys), await startHandWorker(redis, keys)];
    expect(short(await one.turn({ want: 5 }))).toEqual(['a1']);
    expect(short(await two.turn({ want: 5 }))).toEqual([]);
    await reap(redis, keys, one.id, 'any', 'displaced', 0);
    const again = await two.turn({ want: 5 });
    expect(short(again)).toEqual(['a1']);
    const released = await two.turn({ want: 5, settled: { released: again.tasks.map((t) => t.receipt) } });
    expect(short(released)).toEqual(['a1']);
    expect(short(await settle(two, released, 5))).toEqual(['a2']);
  });

  test('a slot of a worker that an earlier version reaped is found', async () => {
    const keys = await queueWith({ perKey: { field: 'customer', concurrency: 1 } }, of('a', 1), of('a', 2));
    const [one, two] = [await startHandWorker(redis, keys), await startHandWorker(redis, keys)];
    await one.turn({ want: 5 });
    await two.turn({ want: 5 });
    // what the script of that version does
    await redis.rpush(keys.queue, ...(await redis.hvals(keys.inflight(one.id))));
    await redis.del(keys.inflight(one.id), keys.worker(one.id));
    await redis.hdel(keys.load, one.id);
    await redis.hdel(keys.limitState, 'checked');
    expect(short(await two.turn({ want: 1 }))).toHaveLength(1);
  });

  test('a limit that is set counts what is in flight, and one that is removed lets all go', async () => {
    const keys = freshKeys();
    await redis.lpush(keys.queue, of('a', 1), of('a', 2), of('a', 3), of('a', 4));
    const worker = await startHandWorker(redis, keys);
    await worker.turn({ want: 2 });
    await setLimits(redis, keys, { perKey: { field: 'customer', concurrency: 2 } }, 'test');
    expect(short(await worker.turn({ want: 5 }))).toEqual([]);
    await setLimits(redis, keys, { perKey: { field: 'customer', concurrency: 3 } }, 'test');
    expect(short(await worker.turn({ want: 5 }))).toEqual(['a3']);
    expect(await removeLimits(redis, keys, 'test')).toBe(true);
    expect(await redis.keys(`millrace:{${keys.queue}}:*limit*`)).toEqual([]);
    expect(await redis.lrange(keys.queue, 0, -1)).toEqual([of('a', 4)]);
    expect(await removeLimits(redis, keys, 'test')).toBe(false);
    expect(short(await worker.turn({ want: 5 }))).toEqual(['a4']);
  });

  test.each(['the next turn', 'a removal', 'another field'])(
    'after a loss of the state, held tasks come back with %s',
    async (how) => {
      const all = Array.from({ length: how === 'the next turn' ? 3 : 1_200 }, (_, i) => of('a', i + 1));
      const keys = await queueWith({ perKey: { field: 'customer', concurrency: 1 } }, ...all);
      const worker = await startHandWorker(redis, keys);
      const first = await worker.turn({ want: 2_000 });
      await redis.del(keys.limitState);
      if (how === 'a removal') await removeLimits(redis, keys, 'test');
      if (how === 'another field')
        await setLimits(redis, keys, { perKey: { field: 'tenant', concurrency: 1 } }, 'test');
      if (how !== 'the next turn') {
        expect(await redis.lrange(keys.queue, 0, -1)).toEqual(all.slice(1).toReversed());
        return;
      }
      const second = await settle(worker, first, 5);
      const third = await settle(worker, second, 5);
      expect([short(first), short(second), short(third)]).toEqual([['a1'], ['a2'], ['a3']]);
    },
  );

  test('a key whose place to be held, or whose bucket, is of another type has no limits, and none of its tasks is lost', async () => {
    const all = [1, 2, 3].map((n) => of('a', n));
    const keys = await queueWith({ perKey: { field: 'customer', rate: '1/h', concurrency: 1 } }, ...all);
    await redis.set(keys.heldTasks('a'), 'x');
    await redis.hset(keys.limitRate('a'), 'x', 1);
    const worker = await startHandWorker(redis, keys);
    const held = await worker.turn({ want: 5 });
    expect(short(held)).toEqual(['a1', 'a2', 'a3']);
    await redis.zadd(keys.held, 1, 'a');
    const released = await worker.turn({ settled: { released: held.tasks.map((t) => t.receipt) } });
    expect(released.tasks).toEqual([]);
    expect(await redis.llen(keys.queue)).toBe(3);
    expect(short(await worker.turn({ want: 5 }))).toHaveLength(3);
    expect(await redis.get(keys.heldTasks('a'))).toBe('x');
    await redis.zadd(keys.held, 1, 'a');
    await removeLimits(redis, keys, 'test');
    expect(await redis.exists(keys.held)).toBe(0);
  });

  test('a slot that is left though nothing is in flight does not keep a pool at zero', async () => {
    const keys = await queueWith({ perKey: { field: 'customer', concurrency: 1 } }, of('a', 1), of('a', 2));
    await redis.hset(keys.limitRunning, 'a', 1);
    await redis.hset(keys.limitSlots, '1-1|gone', 'a');
    expect((await sampleQueue(redis, keys)).limits).toMatchObject({ could: 1 });
    const worker = await startHandWorker(redis, keys);
    await redis.hset(keys.limitState, 'checked', Number.MAX_SAFE_INTEGER);
    await worker.turn({ want: 5 });
    await redis.hset(keys.load, worker.id, 0);
    await redis.hset(keys.limitRunning, 'a', 1);
    await redis.zrem(keys.heldDue, 'a');
    expect((await sampleQueue(redis, keys)).limits).toMatchObject({ ready: 1 });
  });

  test('a held task is in the queue for who looks for it', async () => {
    const keys = await queueWith(
      { perKey: { field: 'customer', concurrency: 1 } },
      of('a', 1),
      '{"id":"wanted","customer":"a"}',
    );
    await (await startHandWorker(redis, keys)).turn({ want: 5 });
    const bounds = [1_000, 1_000_000];
    const found = script(redis, 'find')(
      keys.queue,
      keys.delayed,
      keys.load,
      'wanted',
      keys.inflight(''),
      ...bounds,
    );
    expect(((await found) as Buffer[]).map(String)).toEqual(['{"id":"wanted","customer":"a"}']);
  });

  test('another field: held tasks are sorted anew', async () => {
    const task = (n: number): string => JSON.stringify({ customer: 'a', tenant: `t${n}`, n });
    const keys = await queueWith(
      { perKey: { field: 'customer', concurrency: 1 } },
      task(1),
      task(2),
      task(3),
    );
    const worker = await startHandWorker(redis, keys);
    expect((await worker.turn({ want: 5 })).tasks).toHaveLength(1);
    await setLimits(redis, keys, { perKey: { field: 'tenant', concurrency: 1 } }, 'test');
    expect(texts((await worker.turn({ want: 5 })).tasks)).toEqual([task(2), task(3)]);
    expect(await redis.hgetall(keys.limitRunning)).toEqual({ t1: '1', t2: '1', t3: '1' });
  });
});

describe('the clock of the server', () => {
  test.for([-3_600_000, 3_600_000])('a step of %d ms stops nothing', async (ms) => {
    const limits = { rate: '100/s', burst: 1, perKey: { field: 'customer', rate: '20/s', burst: 1 } };
    const keys = await queueWith(limits, ...Array.from({ length: 6 }, (_, n) => of('a', n)));
    const worker = await startHandWorker(redis, keys);
    let held = await worker.turn({ want: 5 });
    const begun = short(held);
    await server.setClock(ms);
    try {
      // a second is many times what they need
      for (let i = 0; i < 100 && begun.length < 4; i++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        held = await settle(worker, held, 5);
        begun.push(...short(held));
      }
      expect(begun).toEqual(['a0', 'a1', 'a2', 'a3']);
    } finally {
      await server.setClock(0);
    }
  });
});
