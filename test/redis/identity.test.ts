/** Two workers of one name: one that died and one that goes on in its place, and two that live. */
import { expect, test } from 'vitest';
import { sampleQueue } from '../../queue/pool/sample.ts';
import { unblockWaits } from '../../queue/workers/worker-connections.ts';
import { NameTaken } from '../../worker/worker.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, spawnProgram, spawnWorker, startWorker, TASKS } from '../support/workers.ts';

const order = (id: string, parts: object = {}): string => JSON.stringify({ id, ...parts });
const names = Array.from({ length: 10 }, (_, i) => `t${i}`);

test.concurrent('a second worker with the name of a living one ends, and reports why; no task is affected', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.lpush(keys.queue, ...names.map((id) => order(id, { sleepMs: 300 })));
  await using first = await spawnWorker(server, keys, ['--concurrency', '5'], 'node-7');
  const where = ['--redis', server.url, '--queue', keys.queue, '--result', keys.result];
  await using second = spawnProgram([...where, '--id', 'node-7', '--module', TASKS]);
  expect(await second.ended).toBe(1);
  expect(second.stderr()).toMatch(
    /^millrace-worker: another worker is called "node-7", connected from 127\.0\.0\.1:\d+: give it another id/m,
  );
  await resultsOf(redis, keys.result, names.length);
  expect(await sampleQueue(redis, keys)).toMatchObject({
    dead: 0,
    workers: 1,
    counters: { taken: 10, completed: 10, recovered: 0, fenced: 0 },
  });
  expect(first.log.filter(({ event }) => event === 'registered')).toHaveLength(1);
});

test.concurrent('two that begin at the same moment: one has the name', async () => {
  await using server = await startRedis();
  const keys = freshKeys();
  const handler = (task: unknown): unknown => task;
  const workers = [1, 2].map(() => startWorker(server, keys, { id: 'twin', handler }));
  await eventually(() =>
    expect(workers.map(({ epochs }) => epochs).toSorted((a, b) => a - b)).toEqual([0, 1]),
  );
  const ends = await Promise.allSettled(
    workers.map(async (worker) => (worker.epochs === 0 ? worker.ended : undefined)),
  );
  const [refused, ...others] = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []));
  expect(refused).toBeInstanceOf(NameTaken);
  expect(others).toEqual([]);
  await server.client().lpush(keys.queue, 'a');
  await resultsOf(server.client(), keys.result, 1);
  await Promise.allSettled(workers.map((worker) => worker.stop()));
  expect(await sampleQueue(server.client(), keys)).toMatchObject({ counters: { fenced: 0 } });
});

test.concurrent('default names cannot collide: the second worker takes another one, in all of its queues', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const [keys, other] = [freshKeys(), freshKeys()];
  const gate = Promise.withResolvers<string>();
  const options = { handler: () => gate.promise, id: 'host-1', mayRename: true };
  await using first = startWorker(server, keys, options);
  await first.ready();
  await using second = startWorker(server, keys, { ...options, queue: [other.queue, keys.queue] });
  await second.ready();
  const ids = await redis.zrange(keys.workers, '0', '-1');
  expect(ids.toSorted()).toEqual(['host-1', expect.stringMatching(/^host-1-[0-9a-f]{8}$/)]);
  expect(await redis.zrange(other.workers, '0', '-1')).toEqual(ids.filter((id) => id !== 'host-1'));
  await redis.lpush(keys.queue, 'a', 'b');
  await eventually(async () =>
    expect(await sampleQueue(redis, keys)).toMatchObject({ inFlight: 2, busy: 2 }),
  );
  gate.resolve('ok');
  await resultsOf(redis, keys.result, 2);
  expect([first.epochs, second.epochs]).toEqual([1, 1]);
});

test.concurrent('a worker that was killed and restarted has its tasks back immediately, as suspects', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const first = await spawnWorker(server, keys, ['--lease', '1h'], 'pod-1');
  await redis.lpush(keys.queue, order('a', { sleepMs: 3_600_000 }));
  await eventually(async () => expect(await redis.hlen(keys.inflight('pod-1'))).toBe(1));
  await first[Symbol.asyncDispose]();
  await using second = await spawnWorker(server, keys, ['--lease', '1h'], 'pod-1');
  await second.reports('earlier-life');
  await eventually(async () => expect(await redis.hvals(keys.carried('pod-1'))).toEqual(['0:1:pod-1']));
});

test.concurrent('one whose connections are still open is waited for, until its lease is over', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await using first = await spawnWorker(server, keys, ['--lease', '3s'], 'pod-1');
  await redis.lpush(keys.queue, order('a', { sleepMs: 3_600_000 }));
  await eventually(async () => expect(await redis.hlen(keys.inflight('pod-1'))).toBe(1));
  // as when the node of a pod is out of reach: nobody knows whether it lives
  first.signal('SIGSTOP');
  await using _second = await spawnWorker(server, keys, ['--lease', '3s'], 'pod-1');
  await eventually(async () => expect(await redis.hlen(keys.inflight('pod-1'))).toBe(1));
  expect(await redis.hvals(keys.carried('pod-1'))).toEqual(['0:0:::1']);
  // it comes back, and the name is another one's
  first.signal('SIGCONT');
  expect(await first.ended).toBe(1);
  expect((await first.reports('fenced')).msg).toMatch(
    /the lease was lost: another worker is called "pod-1", connected from /,
  );
  expect(first.stderr()).toMatch(/^millrace-worker: another worker is called "pod-1"/m);
});

test.concurrent('a replica that has taken over: who has not connected to it yet is not dead', async () => {
  await using first = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] });
  await using second = await startRedis({ args: ['--replicaof', first.host, String(first.port)] });
  const redis = second.client();
  await using proxy = await startTcpProxy(first.port);
  const keys = freshKeys();
  const finish = Promise.withResolvers<string>();
  const options = { id: 'twin', handler: () => finish.promise };
  await using living = startWorker({ address: { url: `redis://127.0.0.1:${proxy.port}` } }, keys, options);
  await living.ready();
  await first.client().lpush(keys.queue, 'long');
  const inFlight = (): Promise<number> => redis.hlen(keys.inflight('twin'));
  await eventually(async () => expect(await inFlight()).toBe(1));
  await first.kill();
  await redis.replicaof('NO', 'ONE');

  const other = startWorker(second, keys, options);
  // it has looked who has the name
  await eventually(async () => expect(await redis.info('commandstats')).toMatch(/cmdstat_client(\|list)?:/));
  proxy.redirect(second.port);
  await expect(Promise.race([other.ended, other.ready()])).rejects.toBeInstanceOf(NameTaken);
  finish.resolve('done');
  expect(await resultsOf(redis, keys.result, 1)).toEqual({ long: 'done' });
  expect([living.epochs, other.epochs]).toEqual([1, 0]);
});

test.concurrent('the number of a connection that is not a worker’s is left alone', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const stranger = server.client();
  const keys = freshKeys();
  await using worker = startWorker(server, keys, { id: 'w', handler: () => '' });
  await worker.ready();
  const strange = await stranger.client('ID');
  const wait = stranger.blpop('theirs', 30);
  const noted = (): Promise<number> => redis.hget(keys.worker('w'), 'blocker').then(Number);
  await eventually(async () => expect(await noted()).toBeGreaterThan(0));
  expect(await unblockWaits(redis, [strange, await noted()])).toBe(1);
  expect(await unblockWaits(redis, [strange, await noted()], 'another')).toBe(0);
  await redis.lpush('theirs', 'theirs');
  expect(await wait).toEqual(['theirs', 'theirs']);
});
