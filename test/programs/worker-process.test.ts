/** The worker as a process of its own, on a real Redis: how it ends, how it dies, and who takes over. */
import { existsSync } from 'node:fs';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { BLOCK_MS } from '../../queue/workers/reap.ts';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { FIXTURES } from '../fixtures/handler-suite.ts';
import { eventually, sooner } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, spawnProgram, spawnWorker, type WorkerProcess } from '../support/workers.ts';

const order = (id: string, parts: object = {}): string => JSON.stringify({ id, ...parts });

interface Gate extends AsyncDisposable {
  /** A task that runs from when it is begun until the gate is open. */
  order(id: string, parts?: object): string;
  /** Resolves when these tasks run. */
  begun(...ids: readonly string[]): Promise<void>;
  open(): Promise<void>;
}

/** How long tasks run is not left to the machine. */
async function closeGate(): Promise<Gate> {
  const folder = await mkdtempDisposable(join(tmpdir(), 'millrace-worker-process-'));
  const untilFile = join(folder.path, 'go');
  const began = (id: string): string => join(folder.path, `began ${id}`);
  return {
    order: (id, parts = { untilFile }) => order(id, { beganFile: began(id), ...parts }),
    begun: (...ids) => eventually(() => expect(ids.filter((id) => !existsSync(began(id)))).toEqual([])),
    open: () => writeFile(untilFile, ''),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

function inFlight(redis: Redis, keys: QueueKeys, worker: WorkerProcess, count: number): Promise<void> {
  return eventually(async () => expect(await redis.hlen(keys.inflight(worker.id))).toBe(count));
}

/** What a worker that left leaves behind: nothing under its name, and no blocked client. */
async function expectGone(redis: Redis, keys: QueueKeys, worker: WorkerProcess): Promise<void> {
  const left = (await redis.keys('*')).filter((key) => key.includes(worker.id));
  expect(left).toEqual([]);
  expect(await redis.zscore(keys.workers, worker.id)).toBeNull();
  expect(String(await redis.client('LIST'))).not.toContain('cmd=blmove');
}

test.concurrent.each([
  ['the default grace', []],
  ['a grace of thirty days', ['--grace', '720h']],
])('SIGTERM, %s: it finishes what runs, hands back the rest, and leaves nothing behind', async (_, grace) => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using worker = await spawnWorker(server, keys, ['--concurrency', '2', ...grace]);
  await using gate = await closeGate();
  await redis.lpush(keys.queue, gate.order('slow 1'), gate.order('slow 2'));
  await gate.begun('slow 1', 'slow 2');
  worker.signal('SIGTERM');
  await worker.reports('stopping');
  await redis.lpush(keys.queue, 'late');
  await gate.open();
  expect(await worker.ended).toBe(0);
  expect(await redis.hgetall(keys.result)).toEqual({ 'slow 1': '{"attempt":1}', 'slow 2': '{"attempt":1}' });
  expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['late']);
  expect(await sampleQueue(redis, keys)).toMatchObject({
    workers: 0,
    counters: { taken: 2, completed: 2, fenced: 0 },
  });
  await expectGone(redis, keys, worker);
});

test.concurrent('SIGTERM ends an idle worker immediately', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  // it does not wait for the blocking move to end by itself
  await sooner(BLOCK_MS / 2, async () => {
    await using worker = await spawnWorker(server, keys);
    await eventually(async () => expect(String(await redis.client('LIST'))).toContain('cmd=blmove'));
    const asked = performance.now();
    worker.signal('SIGTERM');
    expect(await worker.ended).toBe(0);
    const took = performance.now() - asked;
    await expectGone(redis, keys, worker);
    return took;
  });
});

test.concurrent('SIGTERM right after the start leaves nothing behind either', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  for (let i = 0; i < 3; i++) {
    await using worker = await spawnWorker(server, keys);
    worker.signal('SIGTERM');
    expect(await worker.ended).toBe(0);
    await expectGone(redis, keys, worker);
  }
});

test.concurrent('grace over: what still runs goes back in its order, with no delivery counted', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using worker = await spawnWorker(server, keys, ['--concurrency', '3', '--grace', '8s']);
  await using gate = await closeGate();
  const tasks = [
    gate.order('obeys', { sleepMs: 3_600_000 }),
    gate.order('stubborn', { sleepMs: 3_600_000, stubborn: true }),
    gate.order('in time'),
  ];
  await redis.lpush(keys.queue, ...tasks);
  await gate.begun('obeys', 'stubborn', 'in time');
  worker.signal('SIGTERM');
  await worker.reports('stopping');
  await gate.open();
  expect(await worker.ended).toBe(0);
  expect(await redis.hkeys(keys.result)).toEqual(['in time']);
  const back = await redis.lrange(keys.queue, 0, -1);
  expect(back.toSorted()).toEqual(tasks.slice(0, 2).toSorted());
  expect(await redis.exists(keys.history)).toBe(0);
  await expectGone(redis, keys, worker);
});

test.concurrent('a second signal hurries', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, order('long', { sleepMs: 3_600_000 }));
  await sooner(1_500, async () => {
    await using worker = await spawnWorker(server, keys);
    await inFlight(redis, keys, worker, 1);
    worker.signal('SIGTERM');
    await worker.reports('stopping');
    const asked = performance.now();
    worker.signal('SIGINT');
    expect(await worker.ended).toBe(0);
    const took = performance.now() - asked;
    expect(await redis.llen(keys.queue)).toBe(1);
    await expectGone(redis, keys, worker);
    return took;
  });
});

test.concurrent('SIGKILL: another worker takes over after the lease, and each task has its result', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const flags = ['--lease', '1s', '--concurrency', '4'];
  await using doomed = await spawnWorker(server, keys, flags);
  const ids = Array.from({ length: 12 }, (_, i) => `task ${i}`);
  await redis.lpush(keys.queue, ...ids.map((id) => order(id, { sleepMs: 1_000 })));
  await inFlight(redis, keys, doomed, 4);
  doomed.signal('SIGKILL');
  expect(await doomed.ended).toBe('SIGKILL');
  await using other = await spawnWorker(server, keys, flags);
  await eventually(async () => expect(await redis.hlen(keys.result)).toBe(12));
  expect((await redis.hkeys(keys.result)).toSorted()).toEqual(ids.toSorted());
  expect(await other.reports('lease-ended')).toMatchObject({ worker: doomed.id, tasks: 4 });
  await eventually(async () =>
    expect(await sampleQueue(redis, keys)).toMatchObject({
      waiting: 0,
      inFlight: 0,
      counters: {
        taken: 12,
        completed: 12,
        recovered: 4,
        fenced: 1,
      },
    }),
  );
});

test.concurrent('SIGSTOP for longer than the lease: fenced, no late result, and a new epoch', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using frozen = await spawnWorker(server, keys, ['--lease', '3s']);
  await redis.lpush(keys.queue, order('a', { sleepMs: 3_000 }));
  await inFlight(redis, keys, frozen, 1);
  frozen.signal('SIGSTOP');
  await using other = await spawnWorker(server, keys, ['--lease', '3s']);
  await eventually(async () => expect(await redis.hexists(keys.result, 'a')).toBe(1));
  await redis.hset(keys.result, 'a', 'collected');
  frozen.signal('SIGCONT');
  await frozen.reports('fenced');
  await frozen.reports('registered', 2);
  expect(await redis.hget(keys.result, 'a')).toBe('collected');
  expect((await sampleQueue(redis, keys)).counters).toMatchObject({ completed: 1, recovered: 1, fenced: 1 });
  // it works again, and alone
  other.signal('SIGTERM');
  await other.ended;
  await redis.lpush(keys.queue, 'b');
  await eventually(async () => expect(await redis.hget(keys.result, 'b')).toBe('b'));
});

test.concurrent('restarted under its name, it gets its own tasks back immediately', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using first = await spawnWorker(server, keys, ['--lease', '60s', '--concurrency', '2'], 'pod-0');
  await using gate = await closeGate();
  await redis.lpush(keys.queue, gate.order('a'), gate.order('b'));
  await inFlight(redis, keys, first, 2);
  first.signal('SIGKILL');
  await first.ended;
  await using second = await spawnWorker(server, keys, ['--lease', '60s', '--concurrency', '2'], 'pod-0');
  expect(await second.reports('earlier-life')).toMatchObject({ tasks: 2 });
  await gate.open();
  await eventually(async () => expect((await redis.hkeys(keys.result)).toSorted()).toEqual(['a', 'b']));
});

test.concurrent('a command of any language', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const where = ['--redis', server.url, '--queue', keys.queue, '--result', keys.result];
  await using _worker = spawnProgram([...where, '--command', 'tr a-z A-Z']);
  await redis.lpush(keys.queue, 'loud', Buffer.from([0x61, 0xff, 0x00]));
  await eventually(async () => expect(await redis.hlen(keys.result)).toBe(2));
  expect(await redis.hget(keys.result, 'loud')).toBe('LOUD');
  expect(await redis.hgetBuffer(keys.result, Buffer.from([0x61, 0xff, 0x00]))).toEqual(
    Buffer.from([0x41, 0xff, 0x00]),
  );
});

test.concurrent('a command gets nothing of what the worker needs to reach Redis', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const secrets = { MILLRACE_REDIS_URL: server.url, MILLRACE_REDIS_SENTINEL_NAME: 'x' };
  const given = ['--queue', keys.queue, '--result', keys.result];
  await using _worker = spawnProgram(['--command', 'env', ...given], { ...secrets, OTHER: 'kept' });
  await redis.lpush(keys.queue, 'task');
  const { task = '' } = await resultsOf(redis, keys.result, 1);
  expect(task).toContain('OTHER=kept');
  expect(task).not.toContain('MILLRACE_REDIS_');
});

test.concurrent.each([
  ['once a task', [], 'sh -c "sleep 0.3; cat"'],
  ['kept running', ['--keep-running'], `python3 ${FIXTURES}lines.py`],
])(
  'a place that can start nothing for a while costs no attempts: a command %s',
  async (_what, keep, command) => {
    await using server = await startRedis();
    const redis = server.client();
    const keys = freshKeys();
    const where = ['--redis', server.url, '--queue', keys.queue, '--result', keys.result];
    const flags = ['--concurrency', '40', '--attempts', '1', '--command', command, ...keep];
    // room for a dozen programs at a time: each needs three descriptors
    const limit = 'ulimit -n 64; exec "$@"';
    await using worker = spawnProgram([...where, ...flags], {}, ['sh', '-c', limit, 'sh', process.execPath]);
    await worker.reports('registered');
    await redis.lpush(keys.queue, ...Array.from({ length: 60 }, (_, i) => `slow ${i}`));
    const shortage = await worker.reports('starts-fail');
    expect(shortage).toMatchObject({ reason: expect.stringContaining('EMFILE') });
    expect(Object.keys(await resultsOf(redis, keys.result, 60))).toHaveLength(60);
    expect(await redis.llen(keys.dead)).toBe(0);
    await worker.reports('starts-succeed');
  },
);
