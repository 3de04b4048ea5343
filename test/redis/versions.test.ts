/**
 * Workers of the first protocol and of the current one on one queue, as in every rollout: workers send their own scripts, so
 * both forms run side by side and share only the keys. Each picks up what the other left.
 */
import { expect, test } from 'vitest';
import { readDeadLetters } from '../../queue/dead-letter-format.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { reapExpired } from '../../queue/workers/reap.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { eventually } from '../support/eventually.ts';
import { startOldWorker, workAsOld, type OldTask } from '../support/old-worker.ts';
import { startRedis } from '../support/redis.ts';
import { done, freshKeys, startHandWorker, texts } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

const pasts = (tasks: readonly OldTask[] = []): unknown[] =>
  tasks.map(({ raw, attempts, deliveries }) => [raw.toString(), attempts, deliveries]);

test('old and new workers share a queue: each task has one result, and attempts are counted across both', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const runs = new Map<string, string[]>();
  const ran = (task: string, by: string): void => void runs.set(task, [...(runs.get(task) ?? []), by]);
  const stop = new AbortController();
  const oldOnes = ['old-1', 'old-2'].map(async (id) =>
    workAsOld(
      await startOldWorker(redis, keys, id),
      (task) => {
        const text = task.raw.toString();
        ran(text, 'old');
        if (text.startsWith('flaky') && task.attempts < 2) return { retryMs: 1 };
        return text.startsWith('doomed') ? { dead: 'it fails' } : { result: 'ok' };
      },
      stop.signal,
    ),
  );
  const handler = async (task: unknown, { attempt }: TaskContext): Promise<string> => {
    const text = String(task);
    await new Promise((resolve) => void setTimeout(resolve, 1));
    ran(text, 'new');
    if (text.startsWith('doomed')) throw Object.assign(new Error('it fails'), { retry: false });
    if (text.startsWith('flaky') && attempt < 3) throw new Error('not yet');
    return 'ok';
  };
  await using _one = startWorker(server, keys, { handler, concurrency: 4 });
  await using _two = startWorker(server, keys, { handler, concurrency: 4 });
  const tasks = Array.from({ length: 2_000 }, (_, i) =>
    i % 50 === 0 ? `doomed ${i}` : i % 10 === 0 ? `flaky ${i}` : `task ${i}`,
  );
  for (let from = 0; from < tasks.length; from += 100) {
    await redis.lpush(keys.queue, ...tasks.slice(from, from + 100));
    await eventually(async () => expect(await redis.llen(keys.queue)).toBeLessThan(50), { everyMs: 1 });
  }
  await eventually(async () =>
    expect((await redis.hlen(keys.result)) + (await redis.llen(keys.dead))).toBe(tasks.length),
  );
  stop.abort();
  await Promise.all(oldOnes);

  const by = (kind: string): number => [...runs.values()].flat().filter((who) => who === kind).length;
  expect(by('old')).toBeGreaterThan(100);
  expect(by('new')).toBeGreaterThan(100);
  const flaky = tasks.filter((task) => task.startsWith('flaky'));
  const doomed = tasks.filter((task) => task.startsWith('doomed'));
  for (const task of tasks)
    expect(`${task}: ${runs.get(task)?.length}`).toBe(`${task}: ${task.startsWith('flaky') ? 3 : 1}`);
  expect(flaky.some((task) => new Set(runs.get(task)).size === 2)).toBe(true);
  const letters = await readDeadLetters(redis, keys, 100);
  expect(letters.map(({ raw }) => raw.toString()).toSorted()).toEqual(doomed.toSorted());
  expect(await redis.exists(keys.history)).toBe(0);
  await eventually(async () =>
    expect(await sampleQueue(redis, keys)).toMatchObject({
      waiting: 0,
      inFlight: 0,
      delayed: 0,
      workers: 2,
      counters: {
        completed: tasks.length - doomed.length,
        failed: doomed.length,
        retried: 2 * flaky.length,
        // the squares of service times are those of the new ones alone, and so is the number that they stand for
        squaredTasks: by('new'),
        recovered: 0,
      },
    }),
  );
});

test('a new worker fences an old one whose lease is over, and takes up what it held', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const old = await startOldWorker(redis, keys, 'old', 1);
  await redis.lpush(keys.queue, 'a', 'b', 'c');
  const held = (await old.turn(3)) ?? [];
  await redis.zadd(keys.workers, 1, old.id);
  expect([...(await reapExpired(redis, keys))]).toEqual([['old', 3]]);
  expect(await old.turn(0, [[held[0] as OldTask, { result: 'too late' }]])).toBeUndefined();
  expect(await redis.exists(keys.result)).toBe(0);

  const fresh = await startHandWorker(redis, keys, { id: 'fresh' });
  const { tasks } = await fresh.turn({ want: 3 });
  expect(texts(tasks)[0]).toBe('a');
  expect(tasks[0]?.past).toMatchObject({ attempts: 0, deliveries: 1 });
});

test('an old worker fences a new one whose lease is over, and takes up what it held', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const fresh = await startHandWorker(redis, keys, { id: 'fresh' });
  await redis.lpush(keys.queue, 'a', 'b');
  const { tasks } = await fresh.turn({ want: 2 });
  const [a] = tasks;
  if (!a) throw new Error('two tasks were pushed');
  await redis.zadd(keys.workers, 1, fresh.id);
  const old = await startOldWorker(redis, keys, 'old');
  expect(await old.reap(fresh.id)).toBe(2);
  expect(await fresh.send(fresh.next({ settled: { results: [done(a)] } }))).toEqual({ kind: 'fenced' });
  expect(await redis.exists(keys.result)).toBe(0);
  expect(pasts(await old.turn(2))).toEqual([
    ['a', 0, 1],
    ['b', 0, 1],
  ]);
});

test('what one hands back or puts off, the other takes up with its past', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const old = await startOldWorker(redis, keys, 'old');
  const fresh = await startHandWorker(redis, keys, { id: 'fresh' });
  await redis.lpush(keys.queue, 'a');
  // a retry by the old one
  const [first] = (await old.turn(1)) ?? [];
  await old.turn(0, [[first as OldTask, { retryMs: 0 }]]);
  const [second] = (await fresh.turn({ want: 1 })).tasks;
  expect(second?.past).toMatchObject({ attempts: 1, deliveries: 0 });
  if (!second) throw new Error('the retry was due');
  // handed back by the new one
  await fresh.turn({ settled: { released: [second.receipt] } });
  const [third] = (await old.turn(1)) ?? [];
  expect(pasts(third && [third])).toEqual([['a', 1, 0]]);
  await old.turn(0, [[third as OldTask, 'release']]);
  // put off by the new one
  const [fourth] = (await fresh.turn({ want: 1 })).tasks;
  if (!fourth) throw new Error('the old one handed it back');
  const retries = [{ receipt: fourth.receipt, delayMs: 0, past: { ...fourth.past, attempts: 2 } }];
  await fresh.turn({ settled: { retries } });
  expect(pasts(await old.turn(1))).toEqual([['a', 2, 0]]);
  await old.leave();
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['a']);
});
