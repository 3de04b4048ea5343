/** A worker that waits: the task that its blocking move brings is in flight at once, and begins without a turn. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { openRedis } from '../../queue/connection/connection.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { sleep } from '../../runtime/timers.ts';
import { BLOCKER_OPTIONS, createIdleWait } from '../../worker/epoch/idle-wait.ts';
import { eventually } from '../support/eventually.ts';
import { monitor, type MonitoredCommand } from '../support/monitor.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys, freshQueues, startHandWorker } from '../support/turns.ts';
import { resultsOf, startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

/** Resolves when a blocking move from each of these queues waits. */
async function blocked(...queues: readonly QueueKeys[]): Promise<void> {
  await eventually(async () => {
    const list = String(await redis.client('LIST'));
    expect(list.split('\n').filter((line) => line.includes('cmd=blmove'))).toHaveLength(queues.length);
  });
}

/** The number of keys of the script that put the first task in flight. */
function takenBy(commands: readonly MonitoredCommand[], inflight: string): number {
  const taken = commands.findIndex(({ name, args }) => name === 'HSET' && String(args[0]) === inflight);
  const script = commands.slice(0, taken).findLast(({ name }) => name.startsWith('EVAL'));
  return Number(script?.args[1]);
}
const ADOPT = 14;
const TURN = 23;

test('a pushed task is taken by the script behind the move, and settled by the only turn that it costs', async () => {
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler: () => 'done' });
  await worker.ready();
  await blocked(keys);
  using watched = await monitor(server);
  await redis.lpush(keys.queue, 'task');
  await resultsOf(redis, keys.result, 1);
  const commands = await watched.commands(redis);
  expect(takenBy(commands, keys.inflight(worker.id))).toBe(ADOPT);
  const stored = commands.findIndex(({ name, args }) => name === 'HSET' && String(args[0]) === keys.result);
  expect(commands.slice(0, stored).findLast(({ name }) => name.startsWith('EVAL'))?.args[1]).toEqual(
    Buffer.from(String(TURN)),
  );
});

test('a task with a rare thing about it is taken by a turn', async () => {
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { handler: (_, { attempt }) => `attempt ${attempt}` });
  await worker.ready();
  await blocked(keys);
  using watched = await monitor(server);
  await redis.multi().hset(keys.history, '=task', '2:0').lpush(keys.queue, 'task').exec();
  expect(await resultsOf(redis, keys.result, 1)).toEqual({ task: 'attempt 3' });
  expect(takenBy(await watched.commands(redis), keys.inflight(worker.id))).toBe(TURN);
});

test('of many tasks that come together, all slots are filled, although the move brings one', async () => {
  const keys = freshKeys();
  const gate = Promise.withResolvers<string>();
  const runs: unknown[] = [];
  const handler = (task: unknown): Promise<string> => {
    runs.push(task);
    return gate.promise;
  };
  await using worker = startWorker(server, keys, { handler, concurrency: 4 });
  await worker.ready();
  await blocked(keys);
  await redis.lpush(keys.queue, 'a', 'b', 'c', 'd', 'e');
  await eventually(() => expect(runs).toEqual(['a', 'b', 'c', 'd']));
  gate.resolve('done');
  await resultsOf(redis, keys.result, 5);
  expect(runs).toHaveLength(5);
});

test('where the reply is lost, the task runs once, in the same epoch', async () => {
  await using proxy = await startTcpProxy(server.port);
  const keys = freshKeys();
  const runs: unknown[] = [];
  const address = { url: `redis://127.0.0.1:${proxy.port}` };
  await using worker = startWorker({ address }, keys, { handler: (task) => void runs.push(task) });
  await worker.ready();
  await blocked(keys);
  proxy.stall('replies');
  await redis.lpush(keys.queue, 'task');
  await eventually(async () => expect(await redis.hvals(keys.inflight(worker.id))).toEqual(['task']));
  proxy.cut();
  proxy.resume();
  await resultsOf(redis, keys.result, 1);
  expect(runs).toEqual(['task']);
  await eventually(async () =>
    expect((await sampleQueue(redis, keys)).counters).toMatchObject({ taken: 1, completed: 1, recovered: 0 }),
  );
  expect(worker.epochs).toBe(1);
});

test('a worker that is told to stop as its task comes leaves it in the queue, or runs it, and holds nothing', async () => {
  for (let i = 0; i < 10; i++) {
    const keys = freshKeys();
    const runs: unknown[] = [];
    const worker = startWorker(server, keys, { handler: (task) => void runs.push(task) });
    await worker.ready();
    await blocked(keys);
    const pushed = redis.lpush(keys.queue, 'task');
    await worker.stop();
    await pushed;
    const { waiting, inFlight, counters } = await sampleQueue(redis, keys);
    expect([runs.length, waiting, inFlight, counters.completed]).toEqual(
      runs.length > 0 ? [1, 0, 0, 1] : [0, 1, 0, 0],
    );
  }
});

test('of two queues of a worker: each begins so, and an urgent one goes before what the other has brought', async () => {
  const queues = freshQueues(2);
  const [urgent, bulk] = queues as [QueueKeys, QueueKeys];
  const gates = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  const runs: unknown[] = [];
  const handler = (task: unknown): Promise<string> | string => {
    runs.push(task);
    return gates[runs.length - 1]?.promise ?? 'done';
  };
  await using worker = startWorker(server, urgent, { handler, queue: queues.map(({ queue }) => queue) });
  await worker.ready();
  await blocked(...queues);
  using watched = await monitor(server);
  await redis.lpush(bulk.queue, 'bulk 1');
  await eventually(() => expect(runs).toEqual(['bulk 1']));
  expect(takenBy(await watched.commands(redis), bulk.inflight(worker.id))).toBe(ADOPT);
  // its slot is taken: what comes now waits, the urgent one in front
  await redis.lpush(bulk.queue, 'bulk 2');
  await redis.lpush(urgent.queue, 'urgent');
  await eventually(async () => expect(await redis.llen(urgent.queue)).toBe(1));
  gates[0]?.resolve('done');
  await eventually(() => expect(runs.slice(0, 2)).toEqual(['bulk 1', 'urgent']));
  gates[1]?.resolve('done');
  await resultsOf(redis, urgent.result, 3);
  expect(runs).toEqual(['bulk 1', 'urgent', 'bulk 2']);
});

test('what came to a less urgent queue and may not begin takes no place of an urgent task', async () => {
  const queues = freshQueues(2);
  const [urgent, bulk] = queues as [QueueKeys, QueueKeys];
  // so slow that none is taken ahead
  const handler = (): Promise<void> => sleep(150);
  await using worker = startWorker(server, urgent, { handler, queue: queues.map(({ queue }) => queue) });
  await worker.ready();
  await redis.lpush(urgent.queue, 'first');
  await resultsOf(redis, urgent.result, 1);
  await blocked(...queues);
  // urgent tasks come by turns
  await redis.zadd(urgent.cancelled, Date.now() + 60_000, 'another');
  using watched = await monitor(server);
  await redis.multi().lpush(bulk.queue, 'bulk').lpush(urgent.queue, 'urgent 1', 'urgent 2').exec();
  await resultsOf(redis, urgent.result, 4);
  const commands = await watched.commands(redis);
  const indexOf = (key: string, value: string): number =>
    commands.findIndex(
      ({ name, args }) => name === 'HSET' && String(args[0]) === key && args.map(String).includes(value),
    );
  const settled = indexOf(urgent.result, 'urgent 1');
  const taken = indexOf(urgent.inflight(worker.id), 'urgent 2');
  expect([settled, taken]).not.toContain(-1);
  expect(commands.slice(settled, taken).filter(({ name }) => name.startsWith('EVAL'))).toEqual([]);
});

test('a task of which the worker hears after its wait has ended is left to whoever ends the epoch', async () => {
  await using proxy = await startTcpProxy(server.port);
  const keys = freshKeys();
  const hand = await startHandWorker(redis, keys);
  const { id, epoch } = hand;
  const { madeAt: heard, seen } = await hand.turn();
  const address = { url: `redis://127.0.0.1:${proxy.port}` };
  const blocker = defineScripts(openRedis(address, BLOCKER_OPTIONS));
  await blocker.ping();
  const over = Promise.withResolvers<void>();
  const begun: unknown[] = [];
  const nothing = (): void => undefined;
  const idle = createIdleWait(blocker, redis, keys, id, {
    known: () => ({ worker: id, epoch, turn: 1, heard, seen }),
    onAdopted: (task) => void begun.push(task),
    onTask: nothing,
    onDoubt: nothing,
    onReady: nothing,
    onEnd: over.resolve,
    onConnection: () => Promise.resolve(),
  });
  idle.begin();
  await blocked(keys);
  proxy.stall('replies');
  await redis.lpush(keys.queue, 'task');
  await eventually(async () => expect(await redis.hvals(keys.inflight(id))).toEqual(['task']));
  const ended = idle.end();
  proxy.resume();
  await ended;
  await over.promise;
  blocker.disconnect();
  expect(begun).toEqual([]);
});
