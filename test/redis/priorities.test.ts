/** Tasks of a priority, in a list beside that of their queue: real Redis, real workers. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { reclaimPriorities } from '../../controller/act/priorities.ts';
import type { Sampler } from '../../controller/sample/sampler.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { levelKeys, rankedKeys, type Level } from '../../queue/priorities.ts';
import { openQueue, TaskCancelled, type Priority, type Queue } from '../../queue/queue.ts';
import { closeLevels, forgetLevels, openLevels } from '../../queue/served-levels.ts';
import { defineScripts, script } from '../../queue/scripts/scripts.ts';
import { LONGEST_WINDOW_MS } from '../../worker/epoch/epoch-lane.ts';
import { sleep } from '../../runtime/timers.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys, openFreshQueue } from '../support/turns.ts';
import { promptly, startWorker, type TestWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = defineScripts(server.client());
});
afterAll(() => server[Symbol.asyncDispose]());

const openFresh = (): Queue => openFreshQueue(server.url);
const both: readonly Level[] = ['high', 'low'];
const level = (queue: Queue, one: Level): QueueKeys => levelKeys(queue.keys, one);

/** A worker of all priorities whose tasks end when the test says so. */
function startStepper(keys: QueueKeys): { worker: TestWorker; begun: string[]; next: () => void } {
  const begun: string[] = [];
  const gates: (() => void)[] = [];
  const handler = async (task: unknown): Promise<string> => {
    begun.push((task as { id: string }).id);
    await new Promise<void>((resolve) => gates.push(resolve));
    return 'ok';
  };
  const worker = startWorker(server, keys, { handler, priorities: both });
  return { worker, begun, next: () => gates.shift()?.() };
}

test('high before normal before low, whoever pushed them, and in order within each', async () => {
  await using queue = openFresh();
  const { worker, begun, next } = startStepper(queue.keys);
  await using _worker = worker;
  await queue.enqueue({ id: 'first' });
  await eventually(() => expect(begun).toEqual(['first']));
  const push = (id: string, priority: Priority): Promise<string> => queue.enqueue({ id }, { priority });
  await eventually(() => push('l1', 'low'));
  await push('n1', 'normal');
  await push('h1', 'high');
  await redis.lpush(`{${queue.keys.queue}}:high`, '{"id":"h2"}');
  await redis.lpush(queue.keys.queue, '{"id":"n2"}');
  await queue.enqueueMany([{ id: 'h3' }, { id: 'h4' }], { priority: 'high' });
  await redis.lpush(`{${queue.keys.queue}}:low`, '{"id":"l2"}');
  // no list is taken to be empty any more because it was before the pushes
  await sleep(LONGEST_WINDOW_MS);
  const order = ['h1', 'h2', 'h3', 'h4', 'n1', 'n2', 'l1', 'l2'];
  for (const [i] of order.entries()) {
    next();
    await eventually(() => expect(begun).toEqual(['first', ...order.slice(0, i + 1)]));
  }
  next();
  for (const id of order) expect(await queue.result(id)).toBe('ok');
  await eventually(async () => expect(await queue.inspect()).toMatchObject({ waiting: 0, inFlight: 0 }));
});

test('an idle worker begins a task of each priority', async () => {
  await using queue = openFresh();
  await using worker = startWorker(server, queue.keys, { handler: () => 'ok', priorities: both });
  await worker.ready();
  for (const priority of ['low', 'high', 'normal'] as const) {
    await eventually(() => queue.enqueue({ id: priority }, { priority }));
    expect(await queue.result(priority)).toBe('ok');
  }
});

test('what nobody serves is refused, and nothing is pushed', async () => {
  await using queue = openFresh();
  const refused = async (pushing: Promise<unknown>, words: RegExp): Promise<void> =>
    await expect(pushing).rejects.toThrow(words);
  const name = queue.keys.queue;
  const unserved = /serves no tasks of high priority, and nothing was pushed: .* --priorities high/;
  await refused(queue.enqueue({ id: 'a' }, { priority: 'high' }), unserved);
  await refused(queue.enqueueMany([{}, {}], { priority: 'high', delayMs: 60_000 }), unserved);
  await openLevels(redis, queue.keys, ['low']);
  await refused(queue.enqueue({ id: 'a' }, { priority: 'high' }), unserved);
  await queue.enqueue({ id: 'b' }, { priority: 'low' });
  await closeLevels(redis, queue.keys, ['low']);
  await refused(queue.enqueue({ id: 'c' }, { priority: 'low' }), /no tasks of low priority/);
  expect(await redis.lrange(`{${name}}:low`, '0', '-1')).toEqual(['{"id":"b"}']);
  expect(await redis.exists(`{${name}}:high`, level(queue, 'high').delayed)).toBe(0);
  await queue.enqueue({ id: 'n' }, { priority: 'normal' });
  expect(await redis.lrange(name, '0', '-1')).toEqual(['{"id":"n"}']);

  await refused(queue.enqueue({}, { priority: 'urgent' as Priority }), /high, normal or low: got "urgent"/);
  await refused(queue.enqueue({}, { priority: 'low', unique: 'k' }), /a task of low priority cannot be/);
  await refused(
    queue.enqueue({ id: 'p', batch: { id: 'b', size: 1 } }, { priority: 'low' }),
    /task p is a part of a batch, which a task of low priority cannot be/,
  );
  await refused(queue.limits.set({ rate: '1/s' }), /has priorities/);
  await using parts = openQueue({ redis: server.url, queue: `${name}-parts`, partitions: 2 });
  await refused(parts.enqueue({}, { priority: 'high' }), /in partitions has no priorities/);
  await using odd = openQueue({ redis: server.url, queue: 'a}b' });
  await refused(odd.enqueue({}, { priority: 'high' }), /cannot have priorities/);
});

test('a worker of a queue with limits does not announce priorities, and says why', async () => {
  await using queue = openFresh();
  await queue.limits.set({ rate: '100/s' });
  await using worker = startWorker(server, queue.keys, { handler: () => 'ok', priorities: both });
  await eventually(() => expect(JSON.stringify(worker.log)).toContain('has limits, which would not hold'));
  await expect(queue.enqueue({}, { priority: 'high' })).rejects.toThrow(/no tasks of high priority/);
  expect(await queue.result(await queue.enqueue({}))).toBe('ok');
});

test('a priority that workers outside of a pool serve stays open when a pool that has it ends', async () => {
  await using queue = openFresh();
  await openLevels(redis, queue.keys, both);
  await using _worker = startWorker(server, queue.keys, { handler: () => 'ok', priorities: ['high'] });
  await eventually(async () => expect(await redis.hexists(queue.keys.priorities, 'high:workers')).toBe(1));
  await closeLevels(redis, queue.keys, both);
  await forgetLevels(redis, queue.keys, ['high']);
  expect(await queue.result(await queue.enqueue({ id: 'a' }, { priority: 'high' }))).toBe('ok');
  await expect(queue.enqueue({}, { priority: 'low' })).rejects.toThrow(/serves no tasks of low priority/);
});

test('a push that is sent again after its priority was closed is still made once', async () => {
  const keys = freshKeys();
  const high = levelKeys(keys, 'high');
  const pushing = defineScripts(server.client());
  /** The first push of a client, or its repetition. */
  const push = (number: number): Promise<unknown> =>
    script(pushing, 'push')(
      high.queue,
      high.delayed,
      high.result,
      high.errors,
      high.cancelled,
      high.pushes('client'),
      number,
      0,
      60,
      '',
      1,
      1,
      'id',
      'task',
      keys.priorities,
      'high',
    );
  await openLevels(redis, keys, ['high']);
  expect(await push(1)).toBe(1);
  await closeLevels(redis, keys, ['high']);
  expect([await push(1), await push(2)]).toEqual([0, -1]);
  expect(await redis.llen(high.queue)).toBe(1);
  await openLevels(redis, keys, ['high']);
  expect([await push(1), await push(2)]).toEqual([0, 1]);
});

test('failures: the retry keeps the priority, who waits is told, and a requeued letter keeps it where it is served', async () => {
  await using queue = openFresh();
  let works = false;
  const attempts: number[] = [];
  const handler = (_task: unknown, { attempt }: { attempt: number }): string => {
    attempts.push(attempt);
    if (!works) throw new Error('not yet');
    return 'ok';
  };
  await openLevels(redis, queue.keys, ['high']);
  // a client that knows nothing of priorities waits for the same
  await using other = openQueue({ redis: server.url, queue: queue.keys.queue, result: queue.keys.result });
  await queue.enqueue({ id: 'a' }, { priority: 'high' });
  const options = { handler, priorities: both, retry: { ...promptly, attempts: 2 } };
  const fails = async (): Promise<void> => {
    await using _worker = startWorker(server, queue.keys, options);
    await expect(other.result('a')).rejects.toThrow(/failed for good: .*not yet/);
  };
  await fails();
  expect(attempts).toEqual([1, 2]);
  expect(await queue.dead()).toMatchObject([{ id: 'a' }]);
  expect(await redis.llen(level(queue, 'high').dead)).toBe(1);
  expect(await queue.dead.requeue('all')).toBe(1);
  expect(await redis.llen(level(queue, 'high').queue)).toBe(1);
  await fails();
  // where its priority is not served any more, it goes to the queue itself
  await redis.hdel(queue.keys.priorities, 'high:workers');
  await closeLevels(redis, queue.keys, ['high']);
  expect(await queue.dead.requeue({ ids: ['a'] })).toBe(1);
  expect(await redis.llen(queue.keys.queue)).toBe(1);
  works = true;
  await using _again = startWorker(server, queue.keys, options);
  expect(await other.result('a')).toBe('ok');
});

test('cancel finds a task of any priority: one that waits, however far back, one that is delayed, one that runs', async () => {
  await using queue = openFresh();
  await openLevels(redis, queue.keys, both);
  await queue.enqueueMany(
    Array.from({ length: 3_000 }, (_, n) => ({ id: `t${n}` })),
    { priority: 'low' },
  );
  await queue.enqueue({ id: 'later' }, { priority: 'high', delayMs: 100 });
  // in the middle, where no look at the ends of the list finds it
  for (const id of ['t1500', 'later', 't2999']) expect(await queue.cancel(id)).toBe('marked');
  const ran = new Set<string>();
  const stopped: string[] = [];
  const handler = async (task: unknown, { signal }: { signal: AbortSignal }): Promise<string> => {
    const { id } = task as { id: string };
    ran.add(id);
    if (id !== 'runs') return 'ok';
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    stopped.push(id);
    throw signal.reason;
  };
  await using _worker = startWorker(server, queue.keys, { handler, priorities: both, concurrency: 4 });
  await queue.enqueue({ id: 'runs' }, { priority: 'high' });
  await eventually(() => expect([...ran]).toContain('runs'));
  expect(await queue.cancel('runs')).toBe('marked');
  for (const id of ['t1500', 'later', 't2999', 'runs'])
    await expect(queue.result(id)).rejects.toThrow(TaskCancelled);
  expect(stopped).toEqual(['runs']);
  expect(await queue.result('t2998')).toBe('ok');
  expect(['t1500', 'later', 't2999'].filter((id) => ran.has(id))).toEqual([]);
  expect(await queue.cancel('t2998')).toBe('finished');
  // pushed again, it is not cancelled any more
  await queue.enqueue({ id: 't1500' }, { priority: 'low' });
  expect(await queue.result('t1500')).toBe('ok');
});

test('inspect, progress and pause concern all of them', async () => {
  await using queue = openFresh();
  await openLevels(redis, queue.keys, both);
  for (const priority of ['high', 'normal', 'low'] as const)
    await queue.enqueue({ id: priority }, { priority });
  expect(await queue.inspect()).toMatchObject({ waiting: 3, workers: 0, pause: undefined });
  await queue.pause('for a while');
  expect(await queue.inspect()).toMatchObject({ paused: true, pause: { reason: 'for a while' } });
  const gate = Promise.withResolvers<void>();
  const begun: string[] = [];
  const handler = async (
    task: unknown,
    { progress }: { progress: (value: unknown) => void },
  ): Promise<string> => {
    begun.push((task as { id: string }).id);
    progress(50);
    await gate.promise;
    return 'ok';
  };
  await using worker = startWorker(server, queue.keys, { handler, priorities: both });
  await worker.ready();
  await eventually(async () => expect((await queue.inspect()).workers).toBe(1));
  expect(begun).toEqual([]);
  expect(await queue.resume()).toBe(true);
  await eventually(async () => expect(await queue.progress('high')).toBe(50));
  expect(begun).toEqual(['high']);
  gate.resolve();
  for (const id of ['high', 'normal', 'low']) expect(await queue.result(id)).toBe('ok');
  expect((await queue.inspect()).counters.completed).toBe(3);
});

test('a priority that a worker adds is paused if the queue is, and only then', async () => {
  await using queue = openFresh();
  await queue.pause('for a while');
  {
    await using _worker = startWorker(server, queue.keys, { handler: () => 'ok', priorities: ['high'] });
    await eventually(() => queue.enqueue({ id: 'a' }, { priority: 'high' }));
    expect(await redis.get(level(queue, 'high').paused)).toMatch(/for a while/);
    await queue.resume();
    expect(await queue.result('a')).toBe('ok');
  }
  // what was paused when the priority was taken away
  await queue.pause();
  await redis.hdel(queue.keys.priorities, 'high');
  await queue.resume();
  await using _worker = startWorker(server, queue.keys, { handler: () => 'ok', priorities: ['high'] });
  await eventually(() => queue.enqueue({ id: 'b' }, { priority: 'high' }));
  expect(await queue.result('b')).toBe('ok');
});

test('parts of batches, unique tasks and a priority that a task says of itself are dead letters that say so', async () => {
  await using queue = openFresh();
  await using _worker = startWorker(server, queue.keys, { handler: () => 'ok', priorities: both });
  const high = level(queue, 'high').queue;
  await redis.lpush(high, '{"id":"part","batch":{"id":"b","size":1}}');
  await expect(queue.result('part')).rejects.toThrow(
    /is the list of a priority, and parts are counted among/,
  );
  await redis.lpush(high, '{"id":"once","millrace":{"unique":"k"}}');
  await expect(queue.result('once')).rejects.toThrow(/is the list of a priority: its key may be in another/);
  await redis.lpush(queue.keys.queue, '{"id":"says","millrace":{"priority":"high"}}');
  await expect(queue.result('says')).rejects.toThrow(/push it to the list of its priority/);
});

test('tasks that a task adds have its priority', async () => {
  await using queue = openFresh();
  await openLevels(redis, queue.keys, both);
  const begun: string[] = [];
  const handler = (task: unknown, { spawn }: TaskContext): string => {
    const { id } = task as { id: string };
    begun.push(id);
    if (id === 'parent') spawn([{ id: 'child' }]);
    return 'ok';
  };
  await queue.enqueue({ id: 'parent' }, { priority: 'high' });
  await queue.enqueueMany([{ id: 'n1' }, { id: 'n2' }]);
  await using _worker = startWorker(server, queue.keys, { handler, priorities: both });
  for (const id of ['n1', 'n2', 'child']) expect(await queue.result(id)).toBe('ok');
  expect(await redis.hget(level(queue, 'high').stats, 'completed')).toBe('2');
  expect(await redis.hget(queue.keys.stats, 'completed')).toBe('2');
});

test('names: each list is in the slot of its queue, the highest first, and none is its own result hash', () => {
  const lists = (queue: string): string[] =>
    rankedKeys({ ...freshKeys(), queue, result: 'r' }, both).map((keys) => keys.queue);
  expect(lists('tasks')).toEqual(['{tasks}:high', 'tasks', '{tasks}:low']);
  expect(lists('{shop}:tasks')).toEqual(['{shop}:tasks:high', '{shop}:tasks', '{shop}:tasks:low']);
  for (const odd of ['a{}b', 'a}b', '{a']) expect(() => lists(odd)).toThrow(/cannot have priorities/);
  expect(() => levelKeys({ ...freshKeys(), queue: 'tasks', result: '{tasks}:low' }, 'low')).toThrow(/both/);
});

const uid = 'a-pool';
const letter = '1 {"error":"no","attempts":1,"worker":"w"}\nx';
/** What is there again, as Redis went back: how it stands afterwards, and whether it is served until it is empty. */
const restored: [string, (keys: QueueKeys) => Promise<unknown>, object, boolean][] = [
  ['an empty one is gone', () => Promise.resolve(), {}, false],
  [
    'one with a task',
    ({ queue }) => redis.lpush(queue, 'x'),
    { low: 'closed', [`low:pool:${uid}`]: 'open' },
    true,
  ],
  [
    'one with a delayed task',
    ({ delayed }) => redis.zadd(delayed, 1, 'x'),
    { low: 'closed', [`low:pool:${uid}`]: 'open' },
    true,
  ],
  [
    'one with a dead letter, which is still to be found',
    ({ dead }) => redis.lpush(dead, letter),
    { low: 'closed' },
    false,
  ],
];
test.for(restored)('of a time when the pool served more: %s', async ([, fill, after, isServed]) => {
  await using queue = openFresh();
  const { keys } = queue;
  await openLevels(redis, keys, ['low'], uid);
  await fill(level(queue, 'low'));
  const link = { sampler: { redisOf: () => redis } as unknown as Sampler };
  const found = await reclaimPriorities(link, keys, { uid, levels: ['low'], others: [] });
  expect(found).toEqual(isServed ? ['low'] : []);
  expect(await redis.hgetall(keys.priorities)).toEqual(after);
  await expect(queue.enqueue({}, { priority: 'low' })).rejects.toThrow(/serves no tasks of low priority/);
});

test.for([
  ['another pool', { others: ['low'] }, async () => {}],
  ['a pool of another cluster', { uid: 'one that never served it' }, async () => {}],
  [
    'workers outside of a pool',
    {},
    async (queue: Queue) => void (await redis.hset(queue.keys.priorities, 'low:workers', 'open')),
  ],
] as const)('of a time when the pool served more: what %s serves stays open', async ([, more, before]) => {
  await using queue = openFresh();
  await openLevels(redis, queue.keys, ['low'], uid);
  await before(queue);
  const link = { sampler: { redisOf: () => redis } as unknown as Sampler };
  const input = { uid, levels: ['low'] as const, others: [], ...more };
  expect(await reclaimPriorities(link, queue.keys, input)).toEqual([]);
  await queue.enqueue({ id: 'a' }, { priority: 'low' });
  expect(await reclaimPriorities(link, queue.keys, input)).toEqual([]);
  await queue.enqueue({ id: 'b' }, { priority: 'low' });
});
