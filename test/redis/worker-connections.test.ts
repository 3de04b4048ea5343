/** Which workers are alive, by their connections: what the controller checks before it ends an epoch. */
import { expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import { note } from '../../queue/workers/register.ts';
import { readWorkerRecords, runOf } from '../../queue/workers/worker-connections.ts';
import { NameTaken } from '../../worker/worker.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { calls, startRedis, type RedisServer } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys, startHandWorker } from '../support/turns.ts';
import { resultsOf, spawnWorker, startWorker } from '../support/workers.ts';

test('every connection of a worker has its name, also that of its lease thread', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const id = 'tiles 1:ü%';
  await using worker = await spawnWorker(server, keys, ['--lease', '1s'], id);
  const connections = async (): Promise<number> => {
    const list = String(await redis.client('LIST'));
    const name = ` name=millrace:${keys.queue}:tiles%201%3A%C3%BC%25:[0-9a-f]{8} `;
    return list.split(new RegExp(name)).length - 1;
  };
  await eventually(async () => expect(await connections()).toBe(2));
  await redis.lpush(keys.queue, '{"id":"long","computeMs":600000}');
  await eventually(async () => expect(await connections()).toBe(3));
  expect(await readWorkerRecords(redis, [{ keys, worker: id }])).toMatchObject([{ connected: true }]);
  const epoch = Number(await redis.hget(keys.worker(id), 'epoch'));
  worker.signal('SIGKILL');
  await worker.ended;
  await eventually(async () =>
    expect(await readWorkerRecords(redis, [{ keys, worker: id }])).toMatchObject([
      { epoch, connected: false },
    ]),
  );
});

test('a server that has been restarted: who has not connected to it yet is not dead', async () => {
  await using server = await startRedis({ args: ['--appendonly', 'yes'] });
  const keys = freshKeys();
  await using proxy = await startTcpProxy(server.port);
  await using worker = startWorker({ address: { url: `redis://127.0.0.1:${proxy.port}` } }, keys, {
    handler: () => '',
  });
  await worker.ready();
  proxy.stall();
  proxy.cut();
  await server.restart();
  const connected = async (): Promise<unknown> =>
    (await readWorkerRecords(server.client(), [{ keys, worker: worker.id }]))[0]?.connected;
  expect(await connected()).toBeUndefined();
  proxy.cut();
  proxy.resume();
  await eventually(async () => expect(await connected()).toBe(true));
  // it has told that it came
  await eventually(async () =>
    expect(await server.client().hget(keys.worker(worker.id), 'server')).toBe(await runOf(server.client())),
  );
  proxy.stall();
  proxy.cut();
  await eventually(async () => expect(await connected()).toBe(false));
});

/** A primary and its replica, a proxy before the first, and a worker behind that, with a task that ends when the test wants it to. */
async function startPair() {
  const stack = new AsyncDisposableStack();
  const args = ['--repl-diskless-sync-delay', '0'];
  const first = stack.use(await startRedis({ args }));
  const second = stack.use(
    await startRedis({ args: [...args, '--replicaof', first.host, String(first.port)] }),
  );
  const proxy = stack.use(await startTcpProxy(first.port));
  const keys = freshKeys();
  const finish = Promise.withResolvers<string>();
  const options = { id: 'twin', handler: () => finish.promise };
  const worker = stack.use(
    startWorker({ address: { url: `redis://127.0.0.1:${proxy.port}` } }, keys, options),
  );
  await worker.ready();
  await first.client().lpush(keys.queue, 'long');
  const replica = second.client();
  await eventually(async () => expect(await replica.hlen(keys.inflight(worker.id))).toBe(1));
  const connectedTo = async (server: RedisServer): Promise<unknown> =>
    (await readWorkerRecords(server.client(), [{ keys, worker: worker.id }]))[0]?.connected;
  const noted = (server: RedisServer): Promise<string | null> =>
    server.client().hget(keys.worker(worker.id), 'server');
  /** The second one is the primary, and the worker has gone over to it. */
  const takeOver = async (): Promise<void> => {
    await replica.replicaof('NO', 'ONE');
    proxy.redirect(second.port);
    proxy.cut();
    await eventually(async () => expect(await noted(second)).toBe(await runOf(replica)));
  };
  const servers = { first, second, proxy };
  return {
    ...servers,
    keys,
    options,
    worker,
    finish,
    connectedTo,
    noted,
    takeOver,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

test('a busy worker, which never waits, notes to which server it has gone: back at the first one, it is not dead', async () => {
  await using pair = await startPair();
  const { first, second, proxy, keys, options, worker, finish } = pair;
  await pair.takeOver();
  const redis = first.client();
  await redis.replicaof(second.host, second.port);
  await eventually(async () => expect(await pair.noted(first)).toBe(await runOf(second.client())));
  proxy.stall();
  proxy.cut();
  await second.kill();
  await redis.replicaof('NO', 'ONE');
  expect(await pair.connectedTo(first)).toBeUndefined();
  const asked = await calls(redis, 'client(?:\\|list)?');

  const other = startWorker(first, keys, options);
  // it has looked who has the name
  await eventually(async () => expect(await calls(redis, 'client(?:\\|list)?')).toBeGreaterThan(asked));
  proxy.redirect(first.port);
  proxy.cut();
  proxy.resume();
  await expect(Promise.race([other.ended, other.ready()])).rejects.toBeInstanceOf(NameTaken);
  finish.resolve('done');
  expect(await resultsOf(redis, keys.result, 1)).toEqual({ long: 'done' });
  expect([worker.epochs, other.epochs]).toEqual([1, 0]);
});

test('a replica knows nobody to be dead: those who work are connected to its primary, which it may not have reached', async () => {
  await using pair = await startPair();
  const { first } = pair;
  await pair.takeOver();
  // as long as it does not reach it, it answers from what it had
  await first.client().replicaof('127.0.0.1', await freePort());
  expect(await pair.noted(first)).toBe(await runOf(first.client()));
  expect(await pair.connectedTo(first)).toBeUndefined();
  await first.client().replicaof('NO', 'ONE');
  expect(await pair.connectedTo(first)).toBe(false);
});

test('the server is noted also while it has no memory, in which workers go on', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const { id, epoch } = await startHandWorker(redis, keys);
  await redis.hdel(keys.worker(id), 'server');
  await redis.config('SET', 'maxmemory', '1');
  await note(redis, keys, id, epoch);
  expect(await redis.hget(keys.worker(id), 'server')).toBe(await runOf(redis));
});

test('where INFO is refused, a worker without a connection is dead', async () => {
  await using server = await startRedis();
  const admin = server.client();
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', '-info');
  const keys = freshKeys();
  const address = { ...server.address, username: 'app', password: 'secret' };
  const connected = async (): Promise<unknown> =>
    (await readWorkerRecords(admin, [{ keys, worker: 'w' }]))[0]?.connected;
  await using proxy = await startTcpProxy(server.port);
  const url = `redis://127.0.0.1:${proxy.port}`;
  await using worker = startWorker({ address: { ...address, url } }, keys, { id: 'w', handler: String });
  await admin.lpush(keys.queue, 'a');
  expect(await resultsOf(admin, keys.result, 1)).toEqual({ a: 'a' });
  expect([await connected(), await admin.hget(keys.worker(worker.id), 'server')]).toEqual([true, '']);
  proxy.stall();
  proxy.cut();
  await eventually(async () => expect(await connected()).toBe(false));
  proxy.cut();
  proxy.resume();
});

test('a worker of many queues with long names is seen to live', async () => {
  await using server = await startRedis();
  const keys = freshKeys();
  const queue = Array.from({ length: 40 }, (_, i) => `${keys.queue}-${i}-${'long'.repeat(40)}`);
  await using worker = startWorker(server, keys, { handler: () => '', queue });
  await worker.ready();
  const lives = await readWorkerRecords(
    server.client(),
    queue.map((name) => ({ keys: queueKeys(name, keys.result), worker: worker.id })),
  );
  expect(lives.filter(({ connected }) => connected !== true)).toEqual([]);
});

test('many at a time, in their order: one that never existed, one without a name, one that lives', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const nameless = await startHandWorker(redis, keys);
  await using alive = startWorker(server, keys, { handler: () => '' });
  await alive.ready();
  const lives = await readWorkerRecords(
    redis,
    ['nobody', nameless.id, alive.id].map((worker) => ({ keys, worker })),
  );
  expect(lives).toMatchObject([
    { epoch: undefined },
    { epoch: nameless.epoch, connected: undefined },
    { connected: true },
  ]);
});

test('if Redis refuses names and lists, workers still work and none counts as dead', async () => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  await redis.acl(
    'SETUSER',
    'limited',
    'on',
    '>secret',
    'allkeys',
    '+@all',
    '-client|setname',
    '-client|list',
  );
  const address = { ...server.address, username: 'limited', password: 'secret' };
  await using worker = startWorker({ address }, keys, { handler: () => 'done' });
  await redis.lpush(keys.queue, 'a');
  expect(await resultsOf(redis, keys.result, 1)).toEqual({ a: 'done' });
  expect(await redis.hget(keys.worker(worker.id), 'client')).toBe('');
  const limited = server.client({ username: 'limited', password: 'secret' });
  for (const client of [redis, limited])
    expect(await readWorkerRecords(client, [{ keys, worker: worker.id }])).toMatchObject([
      { connected: undefined },
    ]);
});
