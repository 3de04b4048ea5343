/**
 * A task that takes its worker down, again and again, beside many that do no harm: with real processes that are started
 * again as a kubelet does it, and with long tasks in all slots.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readDeadLetters } from '../../queue/dead-letter-format.ts';
import { writeExitReason } from '../../queue/workers/exit-reason.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { reap, reapExpired } from '../../queue/workers/reap.ts';
import type { Deadly } from '../fixtures/deadly.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, startHandWorker } from '../support/turns.ts';
import { resultsOf, spawnWorker, startWorker } from '../support/workers.ts';

const DEADLY = join(import.meta.dirname, '../fixtures/deadly.ts');

/** A worker that is started again whenever it was killed; `deaths` counts. Disposing kills it. */
function keepAlive(
  server: RedisServer,
  keys: QueueKeys,
  id: string,
  args: readonly string[],
): AsyncDisposable & { readonly deaths: number } {
  let deaths = 0;
  const over = Promise.withResolvers<undefined>();
  const lives = (async () => {
    for (;;) {
      await using life = await spawnWorker(server, keys, ['--module', DEADLY, ...args], id);
      if ((await Promise.race([life.ended, over.promise])) === undefined) return;
      deaths++;
      await writeExitReason(server.client(), keys, id, `killed, ${deaths} times`);
    }
  })();
  return {
    get deaths() {
      return deaths;
    },
    [Symbol.asyncDispose]: async () => {
      over.resolve(undefined);
      await lives;
    },
  };
}

test('it is given up after maxDeliveries, and no other task is lost more than once because of it', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const folder = await mkdtemp(join(tmpdir(), 'millrace-poison-'));
  const book = join(folder, 'book');
  const tasks: Deadly[] = Array.from({ length: 60 }, (_, i) => ({ id: `t${i}`, book, ms: 150 }));
  tasks.splice(9, 0, { id: 'poison', book, ms: 40, dies: true });
  await redis.lpush(keys.queue, ...tasks.map((task) => JSON.stringify(task)));
  {
    const args = ['--concurrency', '4', '--max-deliveries', '3'];
    await using one = keepAlive(server, keys, 'one', args);
    await using two = keepAlive(server, keys, 'two', args);
    await resultsOf(redis, keys.result, 60, 60_000);
    await eventually(async () => expect(await redis.llen(keys.dead)).toBe(1));
    expect(one.deaths + two.deaths).toBe(3);
  }
  const runs = Map.groupBy(
    (await readFile(book, 'utf8')).trim().split('\n'),
    (line) => line.split(' ')[0] ?? '',
  );
  const poison = runs.get('poison') ?? [];
  // the first time it had company; it may have had it after its fellows had ended, too
  expect(poison).toHaveLength(3);
  expect(poison.slice(1)).toEqual(['poison 0', 'poison 0']);
  for (const { id } of tasks) if (id !== 'poison') expect(runs.get(id)?.length, id).toBeLessThanOrEqual(2);
  const again = [...runs].filter(([id, lines]) => id !== 'poison' && lines.length > 1);
  expect(again.length).toBeLessThanOrEqual(3);
  for (const [, lines] of again) expect(lines[1]).toMatch(/ 0$/);
  const [letter] = await readDeadLetters(redis, keys);
  expect(letter).toMatchObject({ id: 'poison', attempts: 0, deliveries: 3 });
  expect(letter?.error).toMatch(
    /^delivered 3 times, and each time its worker was lost; the last one, (one|two): killed, \d times$/,
  );
  // a client that waits is told
  expect(await redis.hexists(keys.errors, 'poison')).toBe(1);
  await rm(folder, { recursive: true });
});

test('a suspect runs, alone, even while long tasks fill all slots, and no worker loops', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const together: Record<string, number> = {};
  const lose = Promise.withResolvers<undefined>();
  let running = 0;
  const handler = async (task: unknown): Promise<string> => {
    running++;
    together[String(task)] = running;
    await lose.promise;
    await new Promise((resolve) => setTimeout(resolve, 100 + 50 * Math.random()));
    together[String(task)] = Math.max(running, together[String(task)] ?? 0);
    running--;
    return 'done';
  };
  await using worker = startWorker(server, keys, { handler, concurrency: 4 });
  await redis.lpush(keys.queue, ...Array.from({ length: 60 }, (_, i) => `t${i}`));
  await eventually(() => expect(running).toBe(4));
  const lost = await startHandWorker(redis, keys);
  // the worker beside it may take them first, so they are put into its hands
  await redis.lpush(keys.wake(lost.id), 'suspect 1', 'suspect 2');
  expect((await lost.turn({ want: 2 })).tasks).toHaveLength(2);
  await reap(redis, keys, lost.id, lost.epoch, 'lost', 0);
  const turns = async (): Promise<number> => Number(await redis.hget(keys.worker(worker.id), 'turn'));
  const before = await turns();
  lose.resolve(undefined);
  const results = await resultsOf(redis, keys.result, 62);
  expect(together['suspect 1']).toBe(1);
  expect(together['suspect 2']).toBe(1);
  expect(Math.max(...Object.values(together))).toBe(4);
  // their turn came while others waited
  expect(Object.keys(together).indexOf('suspect 1')).toBeLessThan(40);
  expect(Object.keys(results)).toHaveLength(62);
  // one turn or two for a task, whoever waits
  expect((await turns()) - before).toBeLessThan(62 * 3);
});

test('a task that no worker survived, for an unknown reason', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const lost = await startHandWorker(redis, keys, { id: 'a,b:c|d 100%' });
  await redis.lpush(keys.queue, 'poison');
  await lost.turn({ want: 1 });
  await reap(redis, keys, lost.id, lost.epoch, 'lost', 0);
  let ran = false;
  const handler = (): string => {
    ran = true;
    return '';
  };
  const retry = { attempts: 3, maxDeliveries: 1, backoff: { initialMs: 1, maxMs: 1, jitter: false } };
  await using _worker = startWorker(server, keys, { handler, retry });
  await eventually(async () => expect(await redis.llen(keys.dead)).toBe(1));
  expect((await readDeadLetters(redis, keys))[0]?.error).toBe(
    'delivered once, and its worker was lost; the last one, a,b:c|d 100%: its exit reason is unknown',
  );
  expect(ran).toBe(false);
});

test('if deaths are not reported, twenty leases that end in a row make a suspect, and fewer do not', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, 'deadly', 'beside it');
  const deliveries: unknown[] = [];
  for (let i = 0; i < 22; i++) {
    const worker = await startHandWorker(redis, keys);
    const { tasks } = await worker.turn({ want: 2 });
    deliveries.push(tasks.map(({ raw, past }) => `${raw.toString()} ${past.deliveries}`).join());
    await redis.zadd(keys.workers, 0, worker.id);
    await reapExpired(redis, keys);
  }
  const together = 'deadly 0,beside it 0';
  // then each alone
  expect(deliveries).toEqual([...Array.from({ length: 20 }, () => together), 'deadly 1', 'deadly 2']);
  const worker = await startHandWorker(redis, keys);
  const [first] = (await worker.turn({ want: 1 })).tasks;
  if (!first) throw new Error('one of them is there');
  expect(first.past).toMatchObject({ lastWorker: expect.stringMatching(/^worker-/) });
});
