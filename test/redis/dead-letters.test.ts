/** Dead letters on a real Redis: found, requeued and dropped by id, error and age; capped in number and age. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { deadHeader, readDeadHeads, readDeadLetters } from '../../queue/dead-letter-format.ts';
import { TaskFailed, type Queue } from '../../queue/queue.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { sweep } from '../../queue/workers/sweep.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { sample } from '../support/sampling.ts';
import { openFreshQueue, startHandWorker, texts } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

const openFresh = (): Queue => openFreshQueue(server.url);

interface Letter {
  readonly raw: string | Buffer;
  readonly id?: string;
  readonly error?: string;
  /** How long ago, ms. */
  readonly ago?: number;
}

/** Buries letters as a turn does, the first one first. */
async function bury({ keys }: Queue, letters: readonly Letter[], on = redis): Promise<void> {
  for (const { raw, id, error = 'it failed', ago = 0 } of letters) {
    const header = deadHeader({ error, attempts: 5, worker: 'w', ...(id === undefined ? {} : { id }) });
    const entry = Buffer.concat([Buffer.from(`${Date.now() - ago} ${header}\n`), Buffer.from(raw)]);
    await on.lpush(keys.dead, entry);
    await on.hset(keys.errors, id ?? raw, header);
  }
}

const rawsOf = async (queue: Queue): Promise<string[]> =>
  (await queue.dead(10_000)).map(({ raw }) => raw.toString());

test('a requeued task is a new one: at the back of the queue, with all attempts, and its error is forgotten', async () => {
  await using queue = openFresh();
  let broken = true;
  const attempts: number[] = [];
  const handler = (_task: unknown, { attempt }: { attempt: number }): string => {
    attempts.push(attempt);
    if (broken) throw new Error('the disk is full');
    return 'ok';
  };
  await using _worker = startWorker(server, queue.keys, { handler });
  await queue.enqueue({ id: 'a' });
  await expect(queue.result('a')).rejects.toThrow(TaskFailed);
  broken = false;
  expect(await queue.dead.requeue({ ids: ['a'] })).toBe(1);
  expect(await queue.result('a')).toBe('ok');
  expect(attempts).toEqual([1, 2, 3, 1]);
  expect(await queue.dead()).toEqual([]);
  expect(await redis.exists(queue.keys.errors, queue.keys.history)).toBe(0);
  expect(await queue.dead.requeue({ ids: ['a'] })).toBe(0);
});

test('chosen by id, error and age, and by all of them together', async () => {
  await using queue = openFresh();
  await bury(queue, [
    { raw: '{"id":"1"}', id: '1', error: 'timeout after 3 s', ago: 7_200_000 },
    { raw: '{"id":"2"}', id: '2', error: 'timeout after 9 s' },
    { raw: 'three', error: 'no such tile', ago: 7_200_000 },
  ]);
  const found = async (which: Parameters<Queue['dead']['find']>[0]): Promise<(string | undefined)[]> =>
    (await queue.dead.find(which)).map(({ id, raw }) => id ?? raw.toString());
  expect(await found('all')).toEqual(['1', '2', 'three']);
  expect(await found({ ids: ['three', '2', 'nobody'] })).toEqual(['2', 'three']);
  expect(await found({ error: 'timeout' })).toEqual(['1', '2']);
  expect(await found({ error: /^timeout.* 9/g })).toEqual(['2']);
  expect(await found({ olderThanMs: 3_600_000 })).toEqual(['1', 'three']);
  expect(await found({ error: 'timeout', olderThanMs: 3_600_000 })).toEqual(['1']);
  await expect(queue.dead.drop({})).rejects.toThrow(TypeError);
  expect(await queue.dead.requeue({ error: 'timeout', olderThanMs: 3_600_000 })).toBe(1);
  expect(await redis.lrange(queue.keys.queue, 0, -1)).toEqual(['{"id":"1"}']);
  expect(await queue.dead.drop({ error: 'timeout' })).toBe(1);
  expect(await rawsOf(queue)).toEqual(['three']);
  expect(await redis.hkeys(queue.keys.errors)).toEqual(['three']);
});

test('the age of what something else wrote is not known: it is not older than anything', async () => {
  await using queue = openFresh();
  await bury(queue, [{ raw: 'a', ago: 7_200_000 }]);
  await redis.lpush(queue.keys.dead, 'a note');
  expect(await queue.dead.drop({ olderThanMs: 3_600_000 })).toBe(1);
  expect(await rawsOf(queue)).toEqual(['a note']);
  expect(await queue.dead.drop({ error: 'something else wrote' })).toBe(1);
});

test('any bytes: a letter that is not UTF-8 and holds line feeds is the same afterwards', async () => {
  await using queue = openFresh();
  const raw = Buffer.from([0xff, 0x0a, 0x00, 0x20, 0x0a]);
  await bury(queue, [{ raw }, { raw: Buffer.from([0xfe]) }]);
  expect(await queue.dead.requeue({ ids: [raw] })).toBe(1);
  expect(await redis.lrangeBuffer(queue.keys.queue, 0, -1)).toEqual([raw]);
  expect(await queue.dead()).toHaveLength(1);
});

test('all of many: each once, oldest first, while others are buried', async () => {
  await using queue = openFresh();
  const ids = Array.from({ length: 1_234 }, (_, i) => `task ${i}`);
  await bury(
    queue,
    ids.map((raw) => ({ raw })),
  );
  const [moved] = await Promise.all([queue.dead.requeue('all'), bury(queue, [{ raw: 'newer' }])]);
  const waiting = (await redis.lrange(queue.keys.queue, 0, -1)).toReversed();
  expect(waiting.filter((raw) => raw !== 'newer')).toEqual(ids);
  expect(waiting).toHaveLength(moved);
  expect([...waiting, ...(await rawsOf(queue))].toSorted()).toEqual([...ids, 'newer'].toSorted());
});

test('two concurrent requeues move each letter once', async () => {
  await using queue = openFresh();
  const ids = Array.from({ length: 300 }, (_, i) => `task ${i}`);
  await bury(
    queue,
    ids.map((raw) => ({ raw })),
  );
  const moved = await Promise.all([queue.dead.requeue('all'), queue.dead.requeue('all')]);
  expect(moved[0] + moved[1]).toBe(300);
  expect((await redis.lrange(queue.keys.queue, 0, -1)).toSorted()).toEqual(ids.toSorted());
});

test('a newer error of that id stays when an older letter is dropped', async () => {
  await using queue = openFresh();
  await bury(queue, [
    { raw: 'a', error: 'the first time' },
    { raw: 'a', error: 'the second time' },
  ]);
  expect(await queue.dead.drop({ error: 'first' })).toBe(1);
  await expect(queue.result('a')).rejects.toThrow('the second time');
  expect(await queue.dead.drop({ ids: ['a'] })).toBe(1);
  expect(await redis.exists(queue.keys.errors)).toBe(0);
});

test.each(['1e999', '-1e999', 'NaN'])(
  'a letter of something else, with a long error and %s attempts, hides no others',
  async (attempts) => {
    await using queue = openFreshQueue(server.url);
    const { dead } = queue.keys;
    await redis.lpush(dead, `1 ${deadHeader({ error: 'no', attempts: 1, worker: 'w' })}\nmine`);
    await redis.lpush(dead, `2 {"error":"${'x'.repeat(8_000)}","attempts":${attempts}}\ntheirs`);
    const heads = await readDeadHeads(redis, queue.keys, 10, 100);
    expect(heads.map(({ error }) => error)).toEqual([expect.stringContaining('not a dead letter'), 'no']);
  },
);

test('a queue of another type: nothing is moved', async () => {
  await using queue = openFresh();
  await bury(queue, [{ raw: 'a' }]);
  await redis.set(queue.keys.queue, 'not a list');
  await expect(queue.dead.requeue('all')).rejects.toThrow('is not a list');
  expect(await rawsOf(queue)).toEqual(['a']);
});

test('a worker keeps the configured number, the newest ones, and their errors', async () => {
  await using queue = openFresh();
  const handler = (): never => {
    throw Object.assign(new Error('no'), { retry: false });
  };
  const deadLetters = { max: 3, maxAgeMs: undefined };
  await using _worker = startWorker(server, queue.keys, { handler, deadLetters });
  await queue.enqueueMany(['1', '2', '3', '4', '5']);
  await expect(queue.result('5')).rejects.toThrow('no');
  expect(await rawsOf(queue)).toEqual(['5', '4', '3']);
  expect((await redis.hkeys(queue.keys.errors)).toSorted()).toEqual(['3', '4', '5']);
});

test('the age holds: with the next burial, by the workers when nothing else is buried, and by the controller alone', async () => {
  await using own = await startRedis({ ownClock: true });
  const client = own.client();
  await using queue = openFreshQueue(own.url);
  const { keys } = queue;
  const hour = 3_600_000;
  const worker = await startHandWorker(client, keys);
  await client.hset(keys.worker(worker.id), 'deadMaxAge', hour);
  const fail = async (raw: string): Promise<void> => {
    await client.lpush(keys.queue, raw);
    const { tasks } = await worker.turn({ want: 1 });
    expect(texts(tasks)).toEqual([raw]);
    const header = deadHeader({ error: 'no', attempts: 1, worker: 'w' });
    await worker.turn({ settled: { dead: tasks.map(({ receipt }) => ({ receipt, id: raw, header })) } });
  };
  await bury(queue, [{ raw: 'ancient', ago: 2 * hour }], client);
  await fail('a');
  expect(await rawsOf(queue)).toEqual(['a']);

  // what workers do now and then
  await sweep(client, keys);
  expect(await rawsOf(queue)).toEqual(['a']);
  await own.setClock(2 * hour);
  await sweep(client, keys);
  expect(await rawsOf(queue)).toEqual([]);
  expect(await client.exists(keys.errors, keys.expiry)).toBe(0);

  await fail('b');
  await own.setClock(4 * hour);
  await using sampling = sample(own.address);
  sampling.sampler.add('p', [keys]);
  await eventually(async () => expect(await readDeadLetters(client, keys)).toEqual([]));
  expect((await sampleQueue(client, keys)).overdue).toBe(false);
});
