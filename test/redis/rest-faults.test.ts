/** Workers at rest whose server restarts, freezes, has another time or refuses client tracking; and beside workers of the first protocol. */
import { expect, test } from 'vitest';
import type { QueueKeys } from '../../queue/keys.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { eventually } from '../support/eventually.ts';
import { startOldWorker, workAsOld, type OldOutcome } from '../support/old-worker.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { atRest } from '../support/resting.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, startWorker, type TestWorker } from '../support/workers.ts';

interface Scene {
  readonly lists: readonly [QueueKeys, QueueKeys];
  readonly worker: TestWorker;
  /** Resolves when it rests in both lists. */
  readonly rest: () => Promise<void>;
  /** Resolves when a task that is pushed to a list has its result. */
  readonly run: (keys: QueueKeys, task: string) => Promise<void>;
}

function sceneOn(server: RedisServer, leaseMs: number, address = server.address): Scene {
  const plain = freshKeys();
  const lists = partitionKeys(plain.queue, plain.result, 2) as [QueueKeys, QueueKeys];
  const redis = server.client();
  const options = { handler: () => 'ok', partitions: 2, leaseMs, restAfterMs: 10 };
  const worker = startWorker({ address }, plain, options);
  return {
    lists,
    worker,
    rest: () => atRest(() => redis, lists, worker.id, leaseMs),
    run: async ({ queue, result }, task) => {
      await redis.lpush(queue, task);
      await eventually(async () => expect(await redis.hget(result, task)).toBe('ok'));
    },
  };
}

test('a server that restarts: what comes then runs, and the worker keeps its epoch', async () => {
  await using server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
  const { lists, worker, rest, run } = sceneOn(server, 600_000);
  await using _ = worker;
  await rest();
  await server.restart();
  await run(lists[1], 'after the restart');
  await rest();
  expect(worker.epochs).toBe(1);
});

test('a server whose time is set an hour forward, and back: no lease ends, and what comes runs', async () => {
  await using server = await startRedis({ ownClock: true });
  const { lists, worker, rest, run } = sceneOn(server, 3_000);
  await using _ = worker;
  await rest();
  for (const [i, offset] of [3_600_000, 0].entries()) {
    await server.setClock(offset);
    await run(lists[0], `task ${i}`);
    await rest();
  }
  expect(worker.epochs).toBe(1);
});

test('a server that refuses client tracking: the worker makes turns as always', async () => {
  await using server = await startRedis();
  const redis = server.client();
  await redis.call('ACL', 'SETUSER', 'deaf', 'on', '>secret', '~*', '&*', '+@all', '-client|tracking');
  const address = { ...server.address, username: 'deaf', password: 'secret' };
  const { lists, worker, run } = sceneOn(server, 600_000, address);
  await using _ = worker;
  await run(lists[0], 'task');
  const turns = async (): Promise<number> => Number(await redis.hget(lists[1].worker(worker.id), 'turn'));
  const before = await turns();
  await eventually(async () => expect(await turns()).toBeGreaterThan(before + 2));
});

test('beside a worker of the first protocol it rests, too, and what comes is done by either', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const { lists, worker, rest, run } = sceneOn(server, 60_000);
  await using _ = worker;
  await worker.ready();
  const [keys] = lists;
  const stop = new AbortController();
  // each of its turns ends the rest of others
  let pauseMs = 1_000;
  const runOld = (): OldOutcome => ({ result: 'ok' });
  const old = workAsOld(await startOldWorker(redis, keys, 'old'), runOld, stop.signal, () => pauseMs);
  // of a test that fails before it stops it
  old.catch(() => undefined);
  await rest();
  pauseMs = 10;
  const turn = async (): Promise<number> => Number(await redis.hget(keys.worker('old'), 'turn'));
  const before = await turn();
  await eventually(async () => expect(await turn()).toBeGreaterThan(before + 1));
  for (let i = 0; i < 20; i++) await run(keys, `task ${i}`);
  expect(Object.keys(await resultsOf(redis, keys.result, 20))).toHaveLength(20);
  stop.abort();
  await old;
  await rest();
  expect(worker.epochs).toBe(1);
});
