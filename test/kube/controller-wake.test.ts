/**
 * A hundred pools on one Redis, with the bundle started as its image starts it: their cost while idle, and how fast the
 * controller notices a push into an empty queue.
 */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS } from '../../kube/resources.ts';
import { bundledController, metric, startController, type ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { playDeployments, poolManifest, startWorld, type World } from '../support/world.ts';

const POOL_COUNT = 100;
const MEMORY_LIMIT = 128 * 2 ** 20;
const PUSHES = 20;

let world: World;
let controller: ControllerProcess;
let redis: Redis;
let namespace: string;
const playing = new AbortController();
const names = Array.from({ length: POOL_COUNT }, (_, i) => `pool-${i}`);

beforeAll(async () => {
  world = await startWorld();
  redis = world.redis.client();
  namespace = await world.namespace();
  await playDeployments(world.transport, playing.signal);
  const program = await bundledController();
  controller = await startController({ kubeconfig: world.server.kubeconfig, program });
  await controller.leading();
});
afterAll(async () => {
  playing.abort();
  await controller?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

const replicas = async (name: string): Promise<number | undefined> =>
  (await world.objects.get(DEPLOYMENTS, { namespace, name })).spec?.replicas;

/** Waits until the pools are at `count` replicas, and so is what they report. */
const settled = (pools: readonly string[], count: number): Promise<void> =>
  eventually(
    async () => {
      const all = await world.objects.list(POOLS, namespace);
      for (const name of pools) {
        const { status } = all.find((pool) => pool.metadata.name === name) ?? {};
        expect([name, status?.replicas, status?.desiredReplicas]).toEqual([name, count, count]);
        expect(status?.conditions?.find(({ type }) => type === 'Ready')?.status).toBe('True');
      }
    },
    { everyMs: 50 },
  );

test('idle pools cost three connections in all and at most 128 MiB', async () => {
  const create = (name: string): Promise<unknown> =>
    world.objects.create(POOLS, namespace, poolManifest(name, world.redis));
  await Promise.all(names.map(create));
  await settled(names, 0);
  const resident = await controller.resident();
  console.log(`${POOL_COUNT} idle pools: ${Math.round(resident / 2 ** 20)} MiB resident`);
  expect(resident).toBeLessThanOrEqual(MEMORY_LIMIT);

  const mine = `id=${await redis.client('ID')} `;
  await eventually(async () => {
    const connections = String(await redis.client('LIST'))
      .trim()
      .split('\n');
    expect(connections.filter((line) => !line.startsWith(mine))).toHaveLength(3);
  });
  expect(metric((await controller.get('/metrics')).body, 'millrace_redis_servers')).toBe(1);
});

test('a push into an empty queue raises the replicas immediately', async () => {
  expect((await world.objects.get(POOLS, { namespace, name: 'pool-0' })).status?.wake).toBe('Tracking');
  const took: number[] = [];
  for (const name of names.slice(0, PUSHES)) {
    const pushed = performance.now();
    await redis.lpush(name, 'task');
    await eventually(async () => expect(await replicas(name)).toBe(1), { everyMs: 1 });
    took.push(performance.now() - pushed);
  }
  took.sort((a, b) => a - b);
  const at = (share: number): number => Math.round(took[Math.ceil(share * took.length) - 1] ?? Infinity);
  console.log(`push → replicas over ${PUSHES} pushes: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`);
  await settled(names.slice(0, PUSHES), 1);
  // not by the next look that an idle pool gets anyway, which is no wake
  const page = (await controller.get('/metrics')).body;
  for (const name of names.slice(0, PUSHES))
    expect(metric(page, `millrace_wake_seconds_count{namespace="${namespace}",pool="${name}"}`), name).toBe(
      1,
    );
});

test('simultaneous pushes into all queues are all noticed', async () => {
  const pushed = performance.now();
  await Promise.all(names.map((name) => redis.lpush(name, 'a', 'b', 'c', 'd', 'e', 'f')));
  await settled(names, 2);
  console.log(`${POOL_COUNT} pools at once: all reported after ${Math.round(performance.now() - pushed)} ms`);
});
