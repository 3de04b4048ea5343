/**
 * A Redis that cannot be used: the pool reports why, without secrets, holds its replicas, and recovers by itself once it is
 * fixed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEPLOYMENTS, EVENTS, POOLS, SECRETS } from '../../kube/resources.ts';
import { startController, type ControllerProcess } from '../support/controller.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { conditionText, poolManifest, startWorld, type World } from '../support/world.ts';
import { PASSWORD, rows, secretKeyRef, WRONG, type Scene, type Servers } from './redis-troubles.ts';

const bounded = { everyMs: 50 };

let world: World;
let controller: ControllerProcess;
let servers: Servers;
const stack = new AsyncDisposableStack();

beforeAll(async () => {
  world = await startWorld();
  servers = {
    plain: world.redis,
    guarded: stack.use(await startRedis({ password: PASSWORD })),
    tls: stack.use(await startRedis({ tls: 'server' })),
    dead: stack.use(await startRedis()),
  };
  controller = await startController({ kubeconfig: world.server.kubeconfig });
  await controller.leading();
});
afterAll(async () => {
  await controller?.[Symbol.asyncDispose]();
  await stack.disposeAsync();
  await world?.[Symbol.asyncDispose]();
});

async function setScene(): Promise<Scene> {
  const ref = { namespace: await world.namespace(), name: 'tiles' };
  return {
    servers,
    ref,
    redis: world.redis.client(),
    secret: async (stringData) => {
      const { name } = secretKeyRef;
      const there = (await world.objects.list(SECRETS, ref.namespace)).some(
        (one) => one.metadata.name === name,
      );
      if (there) return world.objects.patch(SECRETS, { ...ref, name }, { stringData });
      return world.objects.create(SECRETS, ref.namespace, { metadata: { name }, stringData });
    },
    edit: (redis) => world.objects.patch(POOLS, ref, { spec: { redis } }),
  };
}

const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };

describe.concurrent('is told, held, and mended without a restart', () => {
  test.each(rows)('$what', async ({ make, ready, reachable, words, mend, server = 'plain' }) => {
    const scene = await setScene();
    const { ref } = scene;
    const spec = {
      redis: await make(scene),
      queue: ref.namespace,
      result: `${ref.namespace}:result`,
      scaling,
    };
    await world.objects.create(POOLS, ref.namespace, poolManifest(ref.name, world.redis, spec));
    const pool = () => world.objects.get(POOLS, ref);
    const replicas = async () => (await world.objects.get(DEPLOYMENTS, ref)).spec?.replicas;

    await eventually(async () => {
      const seen = await pool();
      expect(conditionText(seen, 'RedisReachable')).toMatch(
        new RegExp(`^False ${reachable} .*${words.source}`, 'i'),
      );
      expect(conditionText(seen, 'Ready')).toMatch(new RegExp(`^False ${ready} .*${words.source}`, 'i'));
    }, bounded);
    await world.objects.patch(DEPLOYMENTS, ref, { spec: { replicas: 3 } });
    await throughout(1_500, async () => expect(await replicas()).toBe(3));
    const told = JSON.stringify((await pool()).status);
    expect(told).not.toContain(WRONG);
    expect(told).not.toContain(PASSWORD);

    await mend(scene);
    await eventually(async () => expect(conditionText(await pool(), 'Ready')).toMatch(/^True/), bounded);
    await servers[server].client().lpush(ref.namespace, 'a', 'b');
    await eventually(async () => expect(await replicas()).toBe(2), bounded);
  });
});

test('a Redis that dies while work goes on: replicas are held, then raised to the fallback', async () => {
  await using own = await startRedis();
  const namespace = await world.namespace();
  const ref = { namespace, name: 'tiles' };
  const fallback = { after: '8s', replicas: 6 };
  await world.objects.create(POOLS, namespace, poolManifest('tiles', own, { scaling, fallback }));
  const replicas = async () => (await world.objects.get(DEPLOYMENTS, ref)).spec?.replicas;
  const pool = () => world.objects.get(POOLS, ref);
  await own.client().lpush('tiles', 'a', 'b', 'c', 'd');
  await eventually(async () => expect(await replicas()).toBe(4), bounded);

  await own.kill();
  await throughout(2_000, async () => expect(await replicas()).toBe(4));
  await eventually(async () => expect(await replicas()).toBe(6), bounded);
  await eventually(async () => {
    const notes = (await world.objects.list(EVENTS, namespace)).map(
      ({ reason, note }) => `${reason} ${note}`,
    );
    expect(
      notes.filter((note) => note.startsWith('ScaledUp 4→6: fallback, the queue could not be read for ')),
    ).toHaveLength(1);
    const reachable = conditionText(await pool(), 'RedisReachable');
    expect(reachable).toMatch(/^False Unreachable .*refuses connections/);
  }, bounded);

  await own.start();
  await own.client().lpush('tiles', 'a');
  await eventually(async () => expect(await replicas()).toBe(1), bounded);
  await eventually(async () => expect(conditionText(await pool(), 'Ready')).toMatch(/^True/), bounded);
  // nobody may be connected any more when the server of this test goes
  await world.objects.patch(POOLS, ref, { spec: { redis: { url: world.redis.url } } });
  await eventually(
    async () => expect(conditionText(await pool(), 'RedisReachable')).toMatch(/^True/),
    bounded,
  );
});

test('a password that is rotated, and connections that end then: the pool wakes as before, without a restart', async () => {
  const { guarded } = servers;
  const admin = guarded.client();
  const user = await world.namespace();
  const ref = { namespace: user, name: 'tiles' };
  await admin.call('ACL', 'SETUSER', user, 'on', `>${PASSWORD}`, '~*', '&*', '+@all');
  const stringData = { value: PASSWORD };
  const { name } = secretKeyRef;
  await world.objects.create(SECRETS, user, { metadata: { name }, stringData });
  const redis = { url: guarded.url, username: user, passwordFrom: { secretKeyRef } };
  const spec = { redis, queue: user, result: `${user}:result`, scaling };
  await world.objects.create(POOLS, user, poolManifest('tiles', guarded, spec));
  const replicas = async () => (await world.objects.get(DEPLOYMENTS, ref)).spec?.replicas;
  const reachable = async () => conditionText(await world.objects.get(POOLS, ref), 'RedisReachable');
  await eventually(async () => expect(await reachable()).toMatch(/^True/), bounded);

  await admin.call('ACL', 'SETUSER', user, '>renewed');
  await world.objects.patch(SECRETS, { namespace: user, name }, { stringData: { value: 'renewed' } });
  await admin.call('ACL', 'SETUSER', user, `<${PASSWORD}`);
  await admin.call('CLIENT', 'KILL', 'USER', user);
  await admin.lpush(user, 'a', 'b', 'c');
  await eventually(async () => expect(await replicas()).toBe(3), bounded);
  await admin.rpop(user, 3);
  await eventually(async () => expect(await replicas()).toBe(0), bounded);
  expect(await reachable()).toMatch(/^True/);
});

test('a Redis that may evict tasks is warned of for as long as it may', async () => {
  await using cache = await startRedis({
    args: ['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lfu'],
  });
  const namespace = await world.namespace();
  const ref = { namespace, name: 'tiles' };
  await world.objects.create(POOLS, namespace, poolManifest('tiles', cache, { scaling }));
  const pool = () => world.objects.get(POOLS, ref);
  const warning = /maxmemory-policy allkeys-lfu.*set maxmemory-policy to noeviction/;
  await eventually(async () => {
    expect(conditionText(await pool(), 'EvictionPossible')).toMatch(warning);
    const events = await world.objects.list(EVENTS, namespace);
    expect(events.filter(({ reason }) => reason === 'EvictionPossible')).toEqual([
      expect.objectContaining({ type: 'Warning', note: expect.stringMatching(warning) }),
    ]);
  }, bounded);
  const redis = cache.client();
  await redis.config('SET', 'maxmemory-policy', 'noeviction');
  await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await eventually(
    async () => expect(conditionText(await pool(), 'EvictionPossible')).toBeUndefined(),
    bounded,
  );
  await world.objects.patch(POOLS, ref, { spec: { redis: { url: world.redis.url } } });
  // nobody but us may be connected any more when the server of this test goes
  await eventually(async () => {
    expect(
      String(await redis.client('LIST'))
        .trim()
        .split('\n'),
    ).toHaveLength(1);
  }, bounded);
});

test('no password ever came into the log or an event', async () => {
  const events = await world.server.kubectl(['get', 'events', '-A', '-o', 'json']);
  expect(events).toContain('SecretMissing');
  for (const text of [controller.stderr(), events]) {
    expect(text).not.toContain(WRONG);
    expect(text).not.toContain(PASSWORD);
  }
});
