/**
 * Schedules, and pauses by annotation, on a real API server and a real Redis. Nothing happens in the queues, so all changes
 * are caused by the clock or an annotation.
 */
import { describe, expect, test } from 'vitest';
import { DEPLOYMENTS, EVENTS, PODS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { queueKeys } from '../../queue/keys.ts';
import { replicaSetOf } from '../support/deployments.ts';
import { eventually } from '../support/eventually.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';
import { useStage } from '../support/stage.ts';

const stage = useStage();

const bounded = { everyMs: 50 };
const PAUSED = 'millrace.dev/paused';
const PAUSED_REPLICAS = 'millrace.dev/paused-replicas';

async function create(spec: Json, annotations: Json = {}) {
  const ref: ObjectRef = { namespace: await stage.world.namespace(), name: 'tiles' };
  const queue = ref.namespace;
  const manifest = poolManifest(ref.name, stage.world.redis, { queue, ...spec });
  await stage.world.objects.create(POOLS, ref.namespace, {
    ...manifest,
    metadata: { ...(manifest['metadata'] as Json), annotations },
  });
  const pool = (): Promise<WorkerPool> => stage.world.objects.get(POOLS, ref);
  const wanted = async (): Promise<number> =>
    (await stage.world.objects.get(DEPLOYMENTS, ref)).spec?.replicas ?? 0;
  return {
    keys: queueKeys(queue, `${queue}:result`),
    pool,
    ready: async (): Promise<string | undefined> => conditionText(await pool(), 'Ready'),
    push: (count: number) => stage.redis.lpush(queue, ...Array.from({ length: count }, (_, i) => `task${i}`)),
    asked: (count: number, patience = bounded) =>
      eventually(async () => expect(await wanted()).toBe(count), patience),
    /** The pods that are asked for are up. */
    up: async (): Promise<void> => {
      const { objects } = stage.world;
      const deployment = await objects.get(DEPLOYMENTS, ref);
      const replicas = deployment.spec?.replicas ?? 0;
      const containers = [{ name: 'worker', image: 'worker:1' }];
      for (let i = 0; i < replicas; i++) {
        const metadata = { name: `${ref.name}-${i}`, ...(await replicaSetOf(objects, deployment)) };
        await objects.create(PODS, ref.namespace, { metadata, spec: { containers } });
      }
      const counts = {
        replicas,
        readyReplicas: replicas,
        availableReplicas: replicas,
        updatedReplicas: replicas,
      };
      const status = { observedGeneration: deployment.metadata.generation, ...counts };
      await objects.patch(DEPLOYMENTS, ref, { status }, 'status');
    },
    annotate: (change: Json) => stage.world.objects.patch(POOLS, ref, { metadata: { annotations: change } }),
    edit: (change: Json) => stage.world.objects.patch(POOLS, ref, { spec: change }),
    told: async (): Promise<string[]> =>
      (await stage.world.objects.list(EVENTS, ref.namespace)).map(({ reason, note }) => `${reason}: ${note}`),
  };
}

describe.concurrent('schedules', () => {
  test('an idle pool acts in the minute in which one begins and ends, and reports it', async () => {
    // on for so short that who only looks every 30 s cannot have both
    const schedules = [{ name: 'a spell', start: '* * * * *', duration: '15s', minReplicas: 2 }];
    const pool = await create({ schedules });
    // it is there again in the next minute
    const nextMinute = { ...bounded, withinMs: 90_000 };
    await pool.asked(2, nextMinute);
    await eventually(async () => {
      const { status } = await pool.pool();
      expect(status?.schedules).toEqual(['a spell']);
      expect(status?.lastDecision).toMatch(/^\d→2: .*, minReplicas 2 by schedule "a spell"$/);
    }, nextMinute);
    await pool.asked(0, nextMinute);
    await eventually(async () => {
      const told = await pool.told();
      expect(told).toContain('ScheduleBegan: Schedule "a spell" has begun.');
      expect(told).toContain('ScheduleEnded: Schedule "a spell" has ended.');
    }, bounded);
  });

  test('one that the definition lets pass but that cannot be: the field, what it is, what to write; held', async () => {
    const pool = await create({ minReplicas: 1 });
    await pool.asked(1);
    const schedules = [{ start: '0 8 * * 1-5', duration: '10h', timeZone: 'Europe/Berln', minReplicas: 3 }];
    await pool.edit({ minReplicas: 4, schedules });
    await eventually(
      async () =>
        expect(await pool.ready()).toBe(
          'False InvalidSpec schedules[0].timeZone is "Europe/Berln", which is no time zone: write a name of the IANA database, such as Europe/Berlin.',
        ),
      bounded,
    );
    await pool.asked(1);
    await pool.edit({ schedules: [{ ...schedules[0], timeZone: 'Europe/Berlin', start: '0 8 31 2 *' }] });
    await eventually(async () => expect(await pool.ready()).toContain('a date that never occurs'), bounded);
    await pool.edit({ schedules: null });
    await pool.asked(4);
    await eventually(async () => expect(await pool.ready()).toMatch(/^True Scaling/), bounded);
  });
});

test.concurrent('a delayed task has its pod by the time it is due, by what starts took', async () => {
  const pool = await create({ scaling: { tasksPerReplica: 1, scaleDown: { window: '0s' } } });
  await pool.push(1);
  await pool.asked(1);
  const since = performance.now();
  await eventually(() => expect(performance.now() - since).toBeGreaterThan(10_000), bounded);
  await pool.up();
  await eventually(async () => expect((await pool.pool()).status?.readyReplicas).toBe(1), bounded);
  await stage.redis.del(pool.keys.queue);
  await pool.asked(0);
  const [seconds = 0] = (await stage.redis.time()).map(Number);
  const due = (seconds + 20) * 1_000;
  await stage.redis.zadd(pool.keys.delayed, due, '1:later');
  await eventually(async () => expect((await pool.pool()).status?.delayed).toBe(1), bounded);
  await pool.asked(1);
  const [now = 0] = (await stage.redis.time()).map(Number);
  expect(now * 1_000).toBeLessThan(due);
  await eventually(
    async () =>
      expect((await pool.pool()).status?.lastDecision).toBe(
        '0→1: 0 waiting, 0 in flight, 1 due soon, 1 task a replica',
      ),
    bounded,
  );
});

describe.concurrent('paused by annotation', () => {
  test('as it is, until the annotation goes', async () => {
    const pool = await create({ scaling: { tasksPerReplica: 1 } }, { [PAUSED]: 'true' });
    const words = `True Paused Replicas are left as they are: set by the annotation ${PAUSED}.`;
    await eventually(async () => expect(await pool.ready()).toBe(words), bounded);
    await pool.push(3);
    await eventually(async () => expect((await pool.pool()).status?.waiting).toBe(3), bounded);
    await pool.asked(0);
    await pool.annotate({ [PAUSED]: null });
    await pool.asked(3);
    await eventually(
      async () => expect(await pool.told()).toContainEqual(expect.stringMatching(/^Resumed: /)),
      bounded,
    );
  });

  test('at a number: up immediately, down by draining, and beyond the bounds', async () => {
    const pool = await create({ maxReplicas: 2 }, { [PAUSED_REPLICAS]: '3' });
    await pool.asked(3);
    await eventually(
      async () =>
        expect(await pool.ready()).toBe(
          `True Paused Replicas are kept at 3: set by the annotation ${PAUSED_REPLICAS}.`,
        ),
      bounded,
    );
    // none of the three is up: those go without being asked
    await pool.annotate({ [PAUSED_REPLICAS]: '1' });
    await pool.asked(1);
    await eventually(
      async () =>
        expect((await pool.pool()).status?.lastDecision).toContain(
          `paused by the annotation ${PAUSED_REPLICAS}`,
        ),
      bounded,
    );
  });

  test('an invalid value holds the pool, and the message has the valid ones', async () => {
    const pool = await create({ minReplicas: 2 }, { [PAUSED]: 'yes' });
    const words = (name: string, value: string, write: string): string =>
      `False InvalidAnnotation The annotation ${name} is "${value}", and the pool is held until it is corrected: ${write}.`;
    await eventually(
      async () => expect(await pool.ready()).toBe(words(PAUSED, 'yes', 'write "true" or "false"')),
      bounded,
    );
    await pool.annotate({ [PAUSED]: 'false', [PAUSED_REPLICAS]: '-1' });
    await eventually(
      async () =>
        expect(await pool.ready()).toBe(
          words(PAUSED_REPLICAS, '-1', 'write a number of replicas such as "3"'),
        ),
      bounded,
    );
    await eventually(
      async () => expect(await pool.told()).toContainEqual(expect.stringMatching(/^InvalidAnnotation: /)),
      bounded,
    );
    await pool.annotate({ [PAUSED_REPLICAS]: null });
    await pool.asked(2);
  });
});
