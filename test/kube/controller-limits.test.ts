/** Limits of a pool on a real API server and a real Redis: the controller writes them and sizes by them. */
import { describe, expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import { ownerOf, setLimits } from '../../queue/limits/limits.ts';
import { POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { eventually } from '../support/eventually.ts';
import { useStage } from '../support/stage.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';

const stage = useStage();

async function create(spec: Json) {
  const ref: ObjectRef = { namespace: await stage.world.namespace(), name: 'tiles' };
  const queue = ref.namespace;
  const make = (): Promise<unknown> =>
    stage.world.objects.create(
      POOLS,
      ref.namespace,
      poolManifest(ref.name, stage.world.redis, { queue, ...spec }),
    );
  return {
    ref,
    keys: queueKeys(queue, 'result'),
    make,
    pool: (): Promise<WorkerPool> => stage.world.objects.get(POOLS, ref),
  };
}

describe.concurrent('limits', () => {
  test('are written, and no more replicas are wanted than they fill', async () => {
    const { ref, keys, make, pool } = await create({
      limits: { concurrency: 2 },
      scaling: { tasksPerReplica: 1 },
    });
    await stage.redis.lpush(keys.queue, ...Array.from({ length: 9 }, (_, i) => `task ${i}`));
    await make();
    const by = ownerOf(`${ref.namespace}/${ref.name}`);
    await eventually(async () => {
      expect(await stage.redis.hgetall(keys.limits)).toMatchObject({ by, concurrency: '2' });
      const { status } = await pool();
      expect(status).toMatchObject({ limits: '2 at once', desiredReplicas: 2 });
      expect(status?.lastDecision).toMatch(/7 more wait for the limits of their queue \(2 at once\)/);
    });
  });

  test('of another pool on the queue stay, and the pool says whose they are', async () => {
    const { keys, make, pool } = await create({ limits: { rate: '5/s' } });
    await setLimits(defineScripts(stage.redis), keys, { concurrency: 1 }, ownerOf('other/pool'));
    await make();
    await eventually(async () =>
      expect(conditionText(await pool(), 'Ready')).toContain('are set by pool other/pool'),
    );
    expect(await stage.redis.hgetall(keys.limits)).toMatchObject({ concurrency: '1' });
  });
});
