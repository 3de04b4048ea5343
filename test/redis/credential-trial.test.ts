/** A pool's Secret that changes before Redis accepts what is in it: the connection that works is used until the new one does. */
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { connectPool, initialConnectState } from '../../controller/connect/connect.ts';
import { TRIAL_MS } from '../../controller/connect/credential-trial.ts';
import { createRedisHub } from '../../controller/connect/redis-hub.ts';
import { createSampler, type QueueLink } from '../../controller/sample/sampler.ts';
import { withDefaults } from '../../kube/defaults.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';

const USER = 'pool';
const MINUTE_MS = 60_000;

async function connected(server: RedisServer) {
  const { queue, result } = freshKeys();
  let password = 'old';
  let now = 0;
  const clock = { now: () => now, elapsed: () => now, sleep: () => Promise.resolve() };
  const hub = createRedisHub((address) =>
    createSampler({ address, onSample: () => undefined, log: pino({ level: 'silent' }), pollMs: 20 }),
  );
  onTestFinished(() => hub[Symbol.asyncDispose]());
  const data = (): Record<string, string> => ({ value: Buffer.from(password).toString('base64') });
  const secrets = () => ({ get: () => Promise.resolve({ metadata: { name: 'redis' }, data: data() }) });
  const redis = {
    url: server.url,
    username: USER,
    passwordFrom: { secretKeyRef: { name: 'redis', key: 'value' } },
  };
  const pool: WorkerPool = {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { namespace: 'team', name: 'tiles', uid: 'u-1', generation: 1 },
    spec: withDefaults({ redis, queue, result }),
  };
  const state = initialConnectState();
  const deps = { secrets, hub, guard: undefined, clock, signal: new AbortController().signal };
  return {
    hub,
    queue,
    /** What a reconcile connects to. */
    link: () => connectPool(deps, pool, state),
    waiting: ({ sampler }: QueueLink): number | undefined => {
      const latest = sampler.latest('team/tiles');
      return latest.kind === 'known' ? latest.sample.runnable.waiting : undefined;
    },
    setSecret: (value: string) => void (password = value),
    pass: (ms: number) => void (now += ms),
  };
}

/** How many connections Redis has of the pool's user. */
async function connections(server: RedisServer): Promise<number> {
  const list = String(await server.client().client('LIST'));
  return list.split('\n').filter((line) => line.includes(`user=${USER} `)).length;
}

async function guarded(): Promise<RedisServer> {
  const server = await startRedis();
  onTestFinished(() => server[Symbol.asyncDispose]());
  await server.client().call('ACL', 'SETUSER', USER, 'on', '>old', '~*', '&*', '+@all');
  return server;
}

test('the old password is used, on new connections, too, until Redis accepts the new one', async () => {
  const server = await guarded();
  const admin = server.client();
  const pool = await connected(server);
  const old = await pool.link();
  await eventually(() => expect(pool.waiting(old)).toBe(0));

  pool.setSecret('new');
  pool.pass(MINUTE_MS + 1);
  expect(await pool.link()).toBe(old);
  expect(pool.hub.size).toBe(2);
  await admin.call('CLIENT', 'KILL', 'USER', USER);
  await admin.lpush(pool.queue, 'a');
  await eventually(async () => {
    expect(await pool.link()).toBe(old);
    expect(pool.waiting(old)).toBe(1);
  });

  await admin.call('ACL', 'SETUSER', USER, '>new');
  const renewed = await eventually(async () => {
    const link = await pool.link();
    expect(link).not.toBe(old);
    return link;
  });
  // there is no moment without a sample
  expect(pool.waiting(renewed)).toBe(1);
  expect(pool.hub.size).toBe(1);
  await admin.call('ACL', 'SETUSER', USER, '<old');
  await admin.call('CLIENT', 'KILL', 'USER', USER);
  await admin.lpush(pool.queue, 'b');
  await eventually(() => expect(pool.waiting(renewed)).toBe(2));
  expect(await pool.link()).toBe(renewed);
});

test('a password that Redis still refuses after two minutes is the only one all the same', async () => {
  const server = await guarded();
  const pool = await connected(server);
  const old = await pool.link();
  await eventually(() => expect(pool.waiting(old)).toBe(0));
  pool.setSecret('wrong');
  pool.pass(MINUTE_MS + 1);
  expect(await pool.link()).toBe(old);
  pool.pass(TRIAL_MS - 1);
  expect(await pool.link()).toBe(old);
  pool.pass(1);
  const { sampler } = await pool.link();
  expect(sampler).not.toBe(old.sampler);
  await eventually(() =>
    expect(sampler.latest('team/tiles')).toMatchObject({ kind: 'unknown', reason: 'Unreachable' }),
  );
  expect(pool.hub.size).toBe(1);
  await eventually(async () => expect(await connections(server)).toBe(0));
});

test('a Secret that is put back as it was ends the trial', async () => {
  const server = await guarded();
  const pool = await connected(server);
  const old = await pool.link();
  pool.setSecret('wrong');
  pool.pass(MINUTE_MS + 1);
  expect(await pool.link()).toBe(old);
  expect(pool.hub.size).toBe(2);
  pool.setSecret('old');
  pool.pass(MINUTE_MS + 1);
  expect(await pool.link()).toBe(old);
  expect(pool.hub.size).toBe(1);
});
