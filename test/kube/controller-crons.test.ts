/** Cron tasks of a pool on a real API server and a real Redis: pushed by the controller, shown in the status and by the CLI. */
import { describe, expect, test } from 'vitest';
import { POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { queueKeys } from '../../queue/keys.ts';
import { eventually } from '../support/eventually.ts';
import { millrace } from '../support/millrace.ts';
import { useStage } from '../support/stage.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';

const stage = useStage();

/** The next minute comes within one. */
const nextMinute = { everyMs: 100, withinMs: 120_000 };

async function create(spec: Json) {
  const ref: ObjectRef = { namespace: await stage.world.namespace(), name: 'tiles' };
  const queue = ref.namespace;
  await stage.world.objects.create(
    POOLS,
    ref.namespace,
    poolManifest(ref.name, stage.world.redis, { queue, ...spec }),
  );
  return {
    ref,
    queue,
    pool: (): Promise<WorkerPool> => stage.world.objects.get(POOLS, ref),
    edit: (change: Json) => stage.world.objects.patch(POOLS, ref, { spec: change }),
    queued: () => stage.redis.lrange(queue, 0, -1),
  };
}

const everyMinute = { name: 'tick', schedule: '* * * * *', task: { kind: 'tick' } };

describe.concurrent('cron tasks', () => {
  test('an idle pool gets one in its minute, grows for it, and says so', async () => {
    const { ref, pool, queued, edit } = await create({ crons: [everyMinute] });
    await eventually(async () => expect((await pool()).status?.crons).toMatchObject([{ name: 'tick' }]));
    await eventually(async () => expect((await queued()).length).toBeGreaterThan(0), nextMinute);
    const [raw = ''] = await queued();
    const { id, kind } = JSON.parse(raw) as { id: string; kind: string };
    expect(kind).toBe('tick');
    expect(id).toMatch(/^tick:\d{4}-\d\d-\d\dT\d\d:\d\d:00Z$/);
    await eventually(async () => {
      const { status } = await pool();
      expect(status?.desiredReplicas).toBe(1);
      expect(status?.crons?.[0]?.lastTask).toMatch(/^tick:/);
      expect(status?.crons?.[0]?.nextTime).toMatch(/:00Z$/);
    });
    const shown = await millrace(['crons', '-n', ref.namespace], {
      env: { KUBECONFIG: stage.world.server.kubeconfig },
    });
    expect(shown).toMatchObject({ code: 0, stderr: '' });
    expect(shown.stdout).toMatch(/^tiles +tick +\* \* \* \* \* +UTC +\S+:00Z +\S+:00Z +0 +0 +tick:\S+\n$/m);
    await edit({ crons: [{ ...everyMinute, suspend: true }] });
    await eventually(async () =>
      expect((await pool()).status?.crons).toEqual([{ name: 'tick', suspended: true }]),
    );
    await edit({ crons: null });
    await eventually(async () => expect((await pool()).status?.crons).toBeUndefined());
  });

  test('one that the definition lets pass but that cannot be: the field, and what to write; the pool is scaled all the same', async () => {
    const { pool, queue } = await create({ crons: [{ ...everyMinute, timeZone: 'Europe/Berln' }] });
    await eventually(async () =>
      expect(conditionText(await pool(), 'Ready')).toContain(
        'InvalidSpec crons[0].timeZone is "Europe/Berln", which is no time zone',
      ),
    );
    await stage.redis.lpush(queue, 'a');
    await eventually(async () => expect((await pool()).status?.desiredReplicas).toBe(1));
  });

  test('of two pools on a queue, the younger one may not give a name another schedule', async () => {
    const hourly = { ...everyMinute, schedule: '0 * * * *' };
    const { ref, pool, queue } = await create({ crons: [hourly] });
    const { namespace } = ref;
    const state = async (): Promise<unknown> =>
      JSON.parse((await stage.redis.hget(queueKeys(queue, 'r').crons, 'tick')) ?? 'null');
    await eventually(async () => expect(await state()).toMatchObject({ of: 'UTC 0 * * * *' }));
    const crons = [
      { ...hourly, schedule: '30 * * * *' },
      { ...hourly, name: 'own' },
    ];
    const younger = poolManifest('zebra', stage.world.redis, { queue, crons });
    await stage.world.objects.create(POOLS, namespace, younger);
    const read = (): Promise<WorkerPool> => stage.world.objects.get(POOLS, { namespace, name: 'zebra' });
    await eventually(async () => {
      const { status } = await read();
      expect(conditionText(await read(), 'Ready')).toMatch(
        /^False CronTaken The cron task "tick" is also one of pool "tiles"/,
      );
      expect(status?.crons?.map(({ name }) => name)).toEqual(['own']);
    });
    await stage.world.objects.patch(POOLS, { namespace, name: 'zebra' }, { spec: { crons: null } });
    await eventually(async () => expect((await read()).status?.crons).toBeUndefined());
    expect(await state()).toMatchObject({ of: 'UTC 0 * * * *' });
    expect(conditionText(await pool(), 'Ready')).toMatch(/^True/);
  });

  test('a pool that only says what it would do pushes nothing', async () => {
    const { pool, queued } = await create({ crons: [everyMinute], mode: 'DryRun' });
    const other = await create({ crons: [everyMinute] });
    await eventually(async () => expect((await other.queued()).length).toBeGreaterThan(0), nextMinute);
    expect(await queued()).toEqual([]);
    expect((await pool()).status?.crons).toBeUndefined();
  });
});
