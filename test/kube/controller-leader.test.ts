/** Two controllers, one lease: however one ends, the other one finishes what it began. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEPLOYMENTS, LEASES, POOLS } from '../../kube/resources.ts';
import { metric, startController, type ControllerProcess } from '../support/controller.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { poolManifest, startWorld, type World } from '../support/world.ts';

const POOL_COUNT = 30;
/** client-go's default. */
const LEASE_S = 15;

let world: World;
let redis: Redis;
beforeAll(async () => {
  world = await startWorld();
  redis = world.redis.client();
});
afterAll(async () => await world?.[Symbol.asyncDispose]());

/** The first of a pair that a namespace has to itself leads. */
async function startPair(namespace: string): Promise<[ControllerProcess, ControllerProcess]> {
  const args = ['--namespace', namespace, '--leader-election', '--lease-namespace', namespace];
  const start = (): Promise<ControllerProcess> =>
    startController({ kubeconfig: world.server.kubeconfig, args });
  const first = await start();
  await first.leading();
  const second = await start();
  await eventually(async () => expect((await second.get('/readyz')).status).toBe(200));
  return [first, second];
}

const leaders = (pair: readonly ControllerProcess[]): Promise<(number | undefined)[]> =>
  Promise.all(pair.map(async (one) => metric((await one.get('/metrics')).body, 'millrace_leader')));

const lease = (namespace: string) => world.objects.get(LEASES, { namespace, name: 'millrace-controller' });

const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };

/** Names of pools of a namespace, and how many tasks each gets. */
const plan = (namespace: string): [queue: string, tasks: number][] =>
  Array.from({ length: POOL_COUNT }, (_, i) => [`${namespace}-${i}`, 1 + (i % 5)]);

const create = (namespace: string, queue: string): Promise<unknown> =>
  world.objects.create(POOLS, namespace, poolManifest(queue, world.redis, { scaling }));

const push = (queue: string, tasks: number): Promise<number> =>
  redis.lpush(queue, ...Array.from({ length: tasks }, (_, i) => `task${i}`));

const replicasOf = async (namespace: string): Promise<[string, number | undefined][]> =>
  (await world.objects.list(DEPLOYMENTS, namespace)).map(({ metadata, spec }) => [
    metadata.name,
    spec?.replicas,
  ]);

const byName = ([a]: [string, ...unknown[]], [b]: [string, ...unknown[]]): number => a.localeCompare(b);

describe.concurrent('two controllers', () => {
  test('the leader is killed while it scales: the other one takes over, and all pools end right', async () => {
    const namespace = await world.namespace();
    const pools = plan(namespace);
    const [first, second] = await startPair(namespace);
    await using _first = first;
    await using _second = second;
    expect(await leaders([first, second])).toEqual([1, 0]);

    await Promise.all(pools.slice(10).map(([queue]) => create(namespace, queue)));
    await eventually(async () => expect(await replicasOf(namespace)).toHaveLength(POOL_COUNT - 10));
    await Promise.all(pools.slice(15).map(([queue, tasks]) => push(queue, tasks)));
    await eventually(async () => expect((await replicasOf(namespace)).some(([, n]) => n)).toBe(true), {
      everyMs: 1,
    });
    const killed = performance.now();
    await first.kill();
    // life goes on without a leader: new pools, new tasks
    await Promise.all(pools.slice(0, 10).map(([queue]) => create(namespace, queue)));
    await Promise.all(pools.slice(0, 15).map(([queue, tasks]) => push(queue, tasks)));

    expect((await lease(namespace)).spec?.leaseDurationSeconds).toBe(LEASE_S);
    await second.leading();
    console.log(`taken over ${((performance.now() - killed) / 1e3).toFixed(1)} s after SIGKILL`);
    await eventually(
      async () => expect((await replicasOf(namespace)).toSorted(byName)).toEqual(pools.toSorted(byName)),
      { everyMs: 50 },
    );
    expect((await lease(namespace)).spec?.leaseTransitions).toBe(1);
    await throughout(500, async () =>
      expect((await replicasOf(namespace)).toSorted(byName)).toEqual(pools.toSorted(byName)),
    );
  });

  test('the leader is asked to stop: the other one leads at its next check', async () => {
    const namespace = await world.namespace();
    const [first, second] = await startPair(namespace);
    await using _first = first;
    await using _second = second;
    await create(namespace, `${namespace}-0`);
    await eventually(async () => expect(await replicasOf(namespace)).toHaveLength(1));
    const led = (await lease(namespace)).spec?.holderIdentity;
    expect(led).toBeTruthy();
    const told = performance.now();
    expect(await first.stop()).toEqual({ code: 0, signal: null });
    console.log(`stopped ${Math.round(performance.now() - told)} ms after SIGTERM`);
    // given up, not run out
    expect((await lease(namespace)).spec?.holderIdentity ?? '').not.toBe(led);
    await second.leading();
    console.log(`handed over ${Math.round(performance.now() - told)} ms after SIGTERM`);
    await push(`${namespace}-0`, 3);
    await eventually(async () => expect(await replicasOf(namespace)).toEqual([[`${namespace}-0`, 3]]));
    expect(await second.stop()).toEqual({ code: 0, signal: null });
    expect((await lease(namespace)).spec?.holderIdentity ?? '').toBe('');
  });
});
