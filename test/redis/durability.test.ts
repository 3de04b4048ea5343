/** Waiting for replication: a primary and a replica that is real, and that freezes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MAX_DURABILITY_MS } from '../../queue/connection/durability.ts';
import { NotReplicated, openQueue } from '../../queue/queue.ts';
import { createLog } from '../../runtime/log.ts';
import type { LogEvent } from '../../runtime/log-event.ts';
import { createWorkerMetrics } from '../../worker/process/metrics.ts';
import { ResultsAway } from '../../worker/turn/refusal.ts';
import { createReplicationWait } from '../../worker/turn/replication.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker, type LogLine } from '../support/workers.ts';

/** Of one that a replica does not confirm. */
const durability = { replicas: 1, timeoutMs: 300 };
/** Of one that it confirms, in its own time. */
const patient = { replicas: 1, timeoutMs: MAX_DURABILITY_MS };

let primary: RedisServer;
let replica: RedisServer;
beforeAll(async () => {
  primary = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] });
  replica = await startRedis({ args: ['--replicaof', primary.host, String(primary.port)] });
  const redis = primary.client();
  await eventually(async () => {
    await redis.set('written', 1);
    expect(await redis.wait(1, 100)).toBe(1);
  });
});
afterAll(async () => {
  await replica?.[Symbol.asyncDispose]();
  await primary?.[Symbol.asyncDispose]();
});

test('enqueue returns when a replica has the task, and throws when none confirms; it is enqueued all the same', async () => {
  const keys = freshKeys();
  await using queue = openQueue({ redis: primary.address, ...keys, durability: patient });
  await using hasty = openQueue({ redis: primary.address, ...keys, durability });
  await queue.enqueue('a');
  expect(await replica.client().lrange(keys.queue, 0, -1)).toEqual(['a']);
  replica.stop();
  try {
    const lonely = hasty.enqueueMany(['b', 'c']);
    await expect(lonely).rejects.toBeInstanceOf(NotReplicated);
    await expect(lonely).rejects.toThrow(
      /2 tasks are enqueued, but 0 of 1 replicas confirmed it within 300 ms/,
    );
  } finally {
    replica.cont();
  }
  expect(await primary.client().llen(keys.queue)).toBe(3);
  await queue.enqueue('d');
  expect(await replica.client().llen(keys.queue)).toBe(4);
});

test('any number of pushes may wait at a time, without a warning of Node', async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  try {
    await using queue = openQueue({ redis: primary.address, ...freshKeys(), durability: patient });
    await queue.enqueue('first');
    await Promise.all(Array.from({ length: 12 }, (_, i) => queue.enqueue(`t${i}`)));
  } finally {
    process.off('warning', onWarning);
  }
  expect(warnings).toEqual([]);
});

test('a worker waits for replicas, reports if they do not confirm, and continues', async () => {
  const keys = freshKeys();
  const redis = primary.client();
  await using worker = startWorker(primary, keys, { handler: (task) => task, durability });
  await worker.ready();
  const done = (id: string) => eventually(async () => expect(await redis.hget(keys.result, id)).toBe(id));
  const said = (event: LogEvent) => worker.log.filter((line) => line.event === event);
  const confirmed = (id: string) =>
    eventually(async () => {
      await redis.lpush(keys.queue, id);
      await done(id);
      // a busy machine may not confirm in time now and then
      expect(said('replicated-again')).toHaveLength(said('not-replicated').length);
    });
  await confirmed('a');
  const before = said('not-replicated').length;
  replica.stop();
  try {
    for (const id of ['b', 'c']) {
      await redis.lpush(keys.queue, id);
      await done(id);
    }
    await eventually(() => expect(said('not-replicated')).toHaveLength(before + 1));
    expect(said('not-replicated').at(-1)).toMatchObject({ err: { type: 'NotReplicated' } });
    // for as long as it lasts, once
    expect(said('replicated-again')).toHaveLength(before);
  } finally {
    replica.cont();
  }
  await confirmed('d');
});

test('results on another server are stored again where it may no longer be the primary, and not where WAIT is refused', async () => {
  await primary.client().call('ACL', 'SETUSER', 'hasty', 'on', '>theirs', '~*', '+@all', '-wait');
  const log: LogLine[] = [];
  const wait = createReplicationWait({
    durability: patient,
    log: createLog('test', 'info', { write: (line) => void log.push(JSON.parse(line) as LogLine) }),
    metrics: createWorkerMetrics().of('q'),
  });
  const [first, demoted] = [primary.client(), replica.client()];
  const refused = primary.client({ username: 'hasty', password: 'theirs' });
  await Promise.all([first, demoted, refused].map((redis) => redis.ping()));
  await wait.stored(first, 1);
  // as is a primary that was demoted before it was asked
  await expect(wait.stored(demoted, 1)).rejects.toBeInstanceOf(NotReplicated);
  expect(log).toEqual([]);
  await wait.stored(refused, 1);
  await wait.settled(refused, 1);
  expect(log).toMatchObject([{ event: 'not-replicated' }]);
});

test('results on another server that no replica confirms are stored again for twenty seconds', async () => {
  const log: LogLine[] = [];
  let now = 1_000;
  const wait = createReplicationWait({
    durability,
    log: createLog('test', 'info', { write: (line) => void log.push(JSON.parse(line) as LogLine) }),
    metrics: createWorkerMetrics().of('q'),
    now: () => now,
  });
  const redis = primary.client();
  const store = async (): Promise<void> => {
    await redis.incr('stored');
    await wait.stored(redis, 1);
  };
  replica.stop();
  try {
    await expect(store()).rejects.toBeInstanceOf(ResultsAway);
    now += 19_999;
    await expect(store()).rejects.toBeInstanceOf(ResultsAway);
    // another server may have taken over, and has no replicas yet
    const gone = primary.client();
    await gone.ping();
    gone.disconnect();
    await expect(wait.stored(gone, 1)).rejects.toBeInstanceOf(NotReplicated);
    now += 1;
    await expect(store()).rejects.toBeInstanceOf(ResultsAway);
    expect(log).toEqual([]);
    now += 20_000;
    await store();
    expect(log).toMatchObject([{ event: 'not-replicated' }]);
  } finally {
    replica.cont();
  }
  await eventually(store);
  replica.stop();
  try {
    await expect(store()).rejects.toBeInstanceOf(ResultsAway);
  } finally {
    replica.cont();
  }
});

type Fall = (server: RedisServer, next: RedisServer) => Promise<unknown>;

/** How a push ends, and what the worker logs, when a server that lacks the push takes over from one that falls. */
async function takeOverDuringPush(fall: Fall): Promise<{ push: unknown; log: readonly LogLine[] }> {
  const atOnce = ['--repl-diskless-sync-delay', '0'];
  await using first = await startRedis({ args: atOnce });
  await using link = await startTcpProxy(first.port);
  await using second = await startRedis({
    args: [...atOnce, '--replicaof', '127.0.0.1', String(link.port)],
  });
  // the new primary has a replica of its own, which would confirm anything
  await using third = await startRedis({
    args: [...atOnce, '--replicaof', second.host, String(second.port)],
  });
  for (const server of [second, third])
    await eventually(async () =>
      expect(await server.client().info('replication')).toContain('master_link_status:up'),
    );
  await using front = await startTcpProxy(first.port);
  const keys = freshKeys();
  const redis = `redis://127.0.0.1:${front.port}`;
  await using queue = openQueue({
    redis,
    ...keys,
    durability: { replicas: 1, timeoutMs: MAX_DURABILITY_MS },
  });
  await using worker = startWorker({ address: { url: redis } }, keys, {
    handler: (task) => task,
    durability: { replicas: 1, timeoutMs: MAX_DURABILITY_MS },
  });
  await worker.ready();
  await queue.enqueue('first');
  await eventually(async () => expect(await second.client().hlen(keys.result)).toBe(1));
  link.stall();
  const push = queue.enqueue('second').then(
    () => 'confirmed',
    (error: Error) => error,
  );
  const has = async (server: RedisServer) => server.client().hexists(keys.result, 'second');
  await eventually(async () => expect(await has(first)).toBe(1));
  await second.client().replicaof('NO', 'ONE');
  front.redirect(second.port);
  await fall(first, second);
  front.cut();
  const end = await push;
  expect(end).toBeInstanceOf(NotReplicated);
  expect(await has(second)).toBe(0);
  await eventually(() =>
    expect(worker.log).toContainEqual(
      expect.objectContaining({ err: expect.objectContaining({ type: 'NotReplicated' }) }),
    ),
  );
  return { push: end, log: worker.log };
}

test.for<[string, Fall]>([
  ['the primary dies', (server) => server.kill()],
  ['the primary is made a replica', (server, next) => server.client().replicaof(next.host, next.port)],
])('%s while a push waits, and the one that takes over lacks it: nothing is confirmed', async ([, fall]) => {
  // a fall that comes only when a wait is over tells nothing about waits
  for (let attempt = 1; attempt <= 8; attempt++) {
    const { push, log } = await takeOverDuringPush(fall);
    const told = [String(push), ...log.map(({ err }) => JSON.stringify(err ?? ''))];
    if (told.some((text) => text.includes(`confirmed it within ${MAX_DURABILITY_MS} ms`))) continue;
    expect(String(push)).toMatch(/it is unknown whether 1 replica has it/);
    expect(log).toContainEqual(
      expect.objectContaining({
        err: expect.objectContaining({
          type: 'NotReplicated',
          message: expect.stringMatching(/it is unknown whether 1 replica has it/),
        }),
      }),
    );
    return;
  }
  throw new Error(
    'each time the waits were over before the primary fell: give the tests more of the machine',
  );
});

test.for([
  [{ replicas: 0, timeoutMs: 100 }, /0 replicas: give 1 or more/],
  [{ replicas: 1, timeoutMs: 9_000 }, /9000 ms: give a timeout/],
] as const)('what WAIT cannot do is refused: %o', ([wrong, message]) => {
  expect(() => openQueue({ redis: primary.address, durability: wrong })).toThrow(message);
});
