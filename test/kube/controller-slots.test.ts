/** A pool with `concurrency: auto` on a real API server and a real Redis: it is sized by what its workers report, and its pods stay as they are. */
import { describe, expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import { holdTask } from '../../queue/outcomes/held-task.ts';
import { note } from '../../queue/workers/register.ts';
import { DEPLOYMENTS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { version } from '../../runtime/version.ts';
import { eventually } from '../support/eventually.ts';
import { millrace } from '../support/millrace.ts';
import { useStage } from '../support/stage.ts';
import { poolManifest, type Json } from '../support/world.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';

const stage = useStage();

async function create(spec: Json) {
  const { world, redis } = stage;
  const namespace = await world.namespace();
  const ref: ObjectRef = { namespace, name: 'tiles' };
  const keys = queueKeys(namespace, `${namespace}:result`);
  const { queue, result } = keys;
  const scripts = defineScripts(redis);
  await redis.lpush(queue, ...Array.from({ length: 41 }, (_, i) => `task ${i}`));
  await world.objects.create(
    POOLS,
    namespace,
    poolManifest('tiles', world.redis, { queue, result, maxReplicas: 30, ...spec }),
  );
  return {
    keys,
    /** A worker of the pool takes a task, and reports this. */
    work: (worker: string, fields: Readonly<Record<string, string | number>>) =>
      holdTask(scripts, keys, worker, 600_000, { version, pool: `${namespace}/tiles`, ...fields }),
    report: async (worker: string, fields: Readonly<Record<string, string | number>>) => {
      const epoch = Number(await redis.hget(keys.worker(worker), 'epoch'));
      await note(scripts, keys, worker, epoch, fields);
    },
    status: async (): Promise<NonNullable<WorkerPool['status']>> =>
      (await world.objects.get<WorkerPool>(POOLS, ref)).status ?? {},
    template: async (): Promise<unknown> => (await world.objects.get(DEPLOYMENTS, ref)).spec?.template,
    edit: (change: Json) => world.objects.patch(POOLS, ref, { spec: change }),
    workers: () => millrace(['workers', '--queue', queue], { env: { MILLRACE_REDIS_URL: world.redis.url } }),
  };
}

describe.concurrent('concurrency: auto', () => {
  test('replicas for the slots that workers found, which nothing but the status shows', async () => {
    const { work, report, status, template, edit, workers } = await create({ concurrency: 'auto' });
    await eventually(async () => expect(await status()).toMatchObject({ slots: 1, desiredReplicas: 9 }));
    const before = await template();
    const slotsWhy = 'at 30 the tasks took 1.6 times as long';
    await work('first', { concurrency: 30, slots: 20, slotsWhy });
    await work('second', { concurrency: 22, slots: 22, slotsWhy: 'another reason' });
    await eventually(async () => expect(await status()).toMatchObject({ slots: 21, slotsReason: slotsWhy }));
    expect((await workers()).stdout).toMatch(/WHY SO MANY SLOTS\n.*at 30 the tasks took 1\.6 times as long/);
    // a little more or less moves nothing
    await report('first', { slots: 21 });
    await report('second', { slots: 10, slotsWhy: 'at 12 it collapsed' });
    await eventually(async () => expect(await status()).toMatchObject({ slots: 16 }));
    expect(await template()).toEqual(before);
    await edit({ concurrency: 4 });
    await eventually(async () => expect((await status()).slots).toBeUndefined());
  });

  test('workers of an earlier version count as they are', async () => {
    const { work, status } = await create({ concurrency: 'auto:1-64', scaling: { targetWait: '10s' } });
    await work('old', { concurrency: 14 });
    await eventually(async () => expect(await status()).toMatchObject({ slots: 14, slotsReason: '' }));
  });
});
