/**
 * A pool with a target wait on a real API server and a real Redis. The tests write the counters of its workers by hand, so
 * that a task takes exactly as long as a test needs, and make its pods ready.
 */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEPLOYMENTS, EVENTS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { queueKeys } from '../../queue/keys.ts';
import { startController, type ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { conditionText, poolManifest, startWorld, type Json, type World } from '../support/world.ts';

const bounded = { everyMs: 20 };

let world: World;
let redis: Redis;
let controller: ControllerProcess;
const start = async (): Promise<void> => {
  controller = await startController({ kubeconfig: world.server.kubeconfig });
  await controller.leading();
};
beforeAll(async () => {
  world = await startWorld();
  redis = world.redis.client();
  await start();
});
afterAll(async () => {
  await controller?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

/** A pool of its own, with tasks in flight from the beginning: so it is looked at every second. */
async function create(scaling: Json, spec: Json = {}) {
  const ref: ObjectRef = { namespace: await world.namespace(), name: 'tiles' };
  const queue = ref.namespace;
  const keys = queueKeys(queue, `${queue}:result`);
  await redis.hset(keys.load, 'somebody', 1);
  const manifest = poolManifest(ref.name, world.redis, { queue, maxReplicas: 100, scaling, ...spec });
  await world.objects.create(POOLS, ref.namespace, manifest);
  const pool = (): Promise<WorkerPool> => world.objects.get(POOLS, ref);
  const wanted = async (): Promise<number> => (await world.objects.get(DEPLOYMENTS, ref)).spec?.replicas ?? 0;
  return {
    ref,
    keys,
    memory: keys.memory(`${ref.namespace}/${ref.name}`),
    decisions: keys.decisions(`${ref.namespace}/${ref.name}`),
    pool,
    wanted,
    condition: async (): Promise<string | undefined> => conditionText(await pool(), 'TargetMissed'),
    push: (count: number) => redis.lpush(queue, ...Array.from({ length: count }, (_, i) => `task${i}`)),
    /** Tasks came, were taken and ran for a second each, since the last look. */
    ran: (count: number) =>
      redis
        .multi()
        .hincrby(keys.stats, 'taken', count)
        .hincrby(keys.stats, 'completed', count)
        .hincrby(keys.stats, 'serviceUs', count * 1e6)
        .exec(),
    /** The pods that are asked for are there now, and ready or not. */
    pods: async (ready: boolean): Promise<void> => {
      const { metadata, spec: asked } = await world.objects.get(DEPLOYMENTS, ref);
      const replicas = asked?.replicas ?? 0;
      const readyReplicas = ready ? replicas : 0;
      const counts = { replicas, readyReplicas, availableReplicas: readyReplicas, updatedReplicas: replicas };
      const status = { observedGeneration: metadata.generation, ...counts };
      await world.objects.patch(DEPLOYMENTS, ref, { status }, 'status');
    },
  };
}

const asked = (pool: Awaited<ReturnType<typeof create>>, count: number): Promise<void> =>
  eventually(async () => expect(await pool.wanted()).toBe(count), bounded);

test('learns, sizes a burst in one step, and a new leader continues with what it learned', async () => {
  const pool = await create({ targetWait: '5s' });
  await asked(pool, 1);
  await eventually(async () => {
    const { status } = await pool.pool();
    expect(status?.lastDecision).toBe('0→1: 0 waiting, 1 in flight, 5 tasks a replica');
  }, bounded);
  await pool.pods(true);
  await eventually(async () => expect(await pool.condition()).toMatch(/^Unknown NotKnown/), bounded);
  await pool.ran(50);
  await eventually(async () => expect(await pool.condition()).toMatch(/^False WithinTarget/), bounded);
  await eventually(async () => {
    const { serviceTime, startTime, arrivalRate } = (await pool.pool()).status ?? {};
    expect(serviceTime).toEqual({ p50: '710ms', p95: '2.8s' });
    expect(startTime?.p50).toMatch(/^\d+(\.\d+)?(ms|s)$/);
    expect(Number.parseFloat(arrivalRate ?? '')).toBeGreaterThan(0);
  }, bounded);

  // in its last words it says what it knows: only then is nothing left to be written
  expect(await controller.stop()).toEqual({ code: 0, signal: null });
  expect(JSON.parse((await redis.get(pool.memory)) ?? '')).toMatchObject({
    version: 1,
    memory: { learned: { service: { finished: 50 } } },
  });
  await pool.push(100);
  await start();
  // newest first
  const decisions = async (): Promise<string[]> =>
    (await redis.lrange(pool.decisions, 0, -1)).map(
      (text) => (JSON.parse(text) as { reason: string }).reason,
    );
  const burst = async (): Promise<string | undefined> =>
    (await decisions()).findLast((reason) => reason.includes(': 100 waiting'));
  // 100 tasks of 1 s must have begun 5 s after they came, whatever of that is over; the words say which rule it was
  const words = /^\d→(\d+): 100 waiting, [\d.]+ m?s a task, [\d.]+ m?s to start, target 5 s$/;
  await eventually(async () => expect(await burst()).toMatch(words), bounded);
  expect(Number(words.exec((await burst()) ?? '')?.[1])).toBeGreaterThan(14);
});

test('names the number to change when pods take longer to start than a task may wait', async () => {
  const pool = await create({ targetWait: '500ms' });
  await asked(pool, 1);
  const since = performance.now();
  await pool.pods(false);
  await eventually(async () => expect((await pool.pool()).status?.replicas).toBe(1), bounded);
  await eventually(() => expect(performance.now() - since).toBeGreaterThan(600));
  await pool.pods(true);
  await eventually(async () => expect((await pool.pool()).status?.readyReplicas).toBe(1), bounded);
  await pool.ran(30);
  await eventually(async () => expect(await pool.condition()).toMatch(/^False WithinTarget/), bounded);
  await pool.ran(300);
  await eventually(
    async () =>
      expect(await pool.condition()).toMatch(
        /^True StartTimeAboveTarget Replicas take [\d.]+ s to start, the target is 0\.5 s: minReplicas (\d+) and maxReplicas \1 would hold it, for at most \d+ pod-hours a day more\.$/,
      ),
    bounded,
  );
  const told = async (): Promise<(string | undefined)[]> =>
    (await world.objects.list(EVENTS, pool.ref.namespace)).map(({ reason }) => reason);
  await eventually(async () => expect(await told()).toContain('TargetMissed'), bounded);
});

test('a pool that is deleted leaves no memory', async () => {
  const pool = await create({ targetWait: '5s' }, { template: undefined, scaleTargetRef: { name: 'mine' } });
  await eventually(async () => expect(conditionText(await pool.pool(), 'Ready')).toBeDefined(), bounded);
  await redis.set(pool.memory, 'from an earlier version');
  await world.objects.remove(POOLS, pool.ref);
  await eventually(async () => expect(await redis.exists(pool.memory)).toBe(0), bounded);
  await eventually(
    async () => expect(await world.objects.list(POOLS, pool.ref.namespace)).toEqual([]),
    bounded,
  );
});
