/** Priorities of a pool on a real API server and a real Redis: clients may use what it serves, and its workers are told. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { queueKeys } from '../../queue/keys.ts';
import { setLimits } from '../../queue/limits/limits.ts';
import { openQueue } from '../../queue/queue.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { eventually } from '../support/eventually.ts';
import { startJobController } from '../support/job-pods.ts';
import { useStage } from '../support/stage.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';

const stage = useStage();
// the end of a pool waits for Kubernetes to collect what it owned
let controllers: AsyncDisposable | undefined;
beforeAll(async () => void (controllers = await startJobController(stage.world)));
afterAll(async () => await controllers?.[Symbol.asyncDispose]());

async function create(spec: Json) {
  const { world, redis } = stage;
  const namespace = await world.namespace();
  const ref: ObjectRef = { namespace, name: 'tiles' };
  const keys = queueKeys(namespace, `${namespace}:result`);
  const { queue, result } = keys;
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  const manifest = poolManifest('tiles', world.redis, { queue, result, scaling, ...spec });
  const read = (): Promise<WorkerPool> => world.objects.get(POOLS, ref);
  return {
    keys,
    high: `{${queue}}:high`,
    low: `{${queue}}:low`,
    make: (): Promise<unknown> => world.objects.create(POOLS, namespace, manifest),
    read,
    edit: (change: Json) => world.objects.patch(POOLS, ref, { spec: change }),
    remove: () => world.objects.remove(POOLS, ref),
    open: () => openQueue({ redis: world.redis.url, queue, result }),
    /** Without what is noted of pools. */
    written: async () => {
      const all = Object.entries(await redis.hgetall(keys.priorities));
      return Object.fromEntries(all.filter(([field]) => !field.includes(':pool:')));
    },
    noted: async () => (await redis.hkeys(keys.priorities)).filter((field) => field.includes(':pool:')),
    shows: (status: object) => eventually(async () => expect((await read()).status).toMatchObject(status)),
    workersAreTold: (priorities: string | undefined) =>
      eventually(async () => {
        const { spec: deployment } = await world.objects.get(DEPLOYMENTS, ref);
        const env = deployment?.template.spec?.containers[0]?.env ?? [];
        expect(env.find(({ name }) => name === 'MILLRACE_PRIORITIES')?.value).toBe(priorities);
      }),
  };
}

test('a task of any priority, of the library or a plain client, wakes a pool at zero', async () => {
  const pool = await create({ priorities: ['high', 'low'] });
  await using queue = pool.open();
  await pool.make();
  await pool.shows({ desiredReplicas: 0, wake: 'Tracking', priorities: ['high', 'low'] });
  await pool.workersAreTold('high,low');
  await eventually(() => queue.enqueue({ id: 'a' }, { priority: 'high' }));
  await pool.shows({ desiredReplicas: 1, waiting: 1 });
  await stage.redis.lpush(pool.low, 'b');
  await pool.shows({ desiredReplicas: 2, waiting: 2, queue: pool.keys.queue });
  expect(await queue.inspect()).toMatchObject({ waiting: 2 });
});

test('one that is taken away is refused, and served until it is empty; a paused queue is so with what is added', async () => {
  const pool = await create({ priorities: ['high'] });
  await using queue = pool.open();
  await pool.make();
  await eventually(() => queue.enqueue({ id: 'a' }, { priority: 'high' }));
  await queue.pause('for the night');
  await pool.edit({ priorities: ['low'] });
  await eventually(async () => expect(await pool.written()).toEqual({ high: 'closed', low: 'open' }));
  await expect(queue.enqueue({}, { priority: 'high' })).rejects.toThrow(/serves no tasks of high priority/);
  await queue.enqueue({ id: 'b' }, { priority: 'low' });
  await pool.workersAreTold('high,low');
  await pool.shows({ waiting: 2, priorities: ['high', 'low'], desiredReplicas: 0 });
  expect(await stage.redis.get(`millrace:{${pool.keys.queue}}[${pool.low}]:paused`)).toMatch(/for the night/);
  await expect(pool.edit({ priorities: null, limits: { rate: '1/s' } })).rejects.toThrow(
    /wait until status.priorities is gone/,
  );
  // another controller knows of it
  await stage.restartController();
  await queue.resume();
  await pool.shows({ waiting: 2, desiredReplicas: 2, priorities: ['high', 'low'] });
  await queue.pause('once more');
  const pauseOfHigh = `millrace:{${pool.keys.queue}}[${pool.high}]:paused`;
  expect(await stage.redis.exists(pauseOfHigh)).toBe(1);
  await stage.redis.del(pool.high);
  await pool.shows({ waiting: 1, priorities: ['low'] });
  await pool.workersAreTold('low');
  await eventually(async () => expect(await pool.written()).toEqual({ low: 'open' }));
  // or it would be paused for good if it came back
  expect(await stage.redis.exists(pauseOfHigh)).toBe(0);
});

test('a Redis that forgot is told again; when the pool ends, what is pushed is refused', async () => {
  const pool = await create({ priorities: ['high'] });
  await pool.make();
  await eventually(async () => expect(await pool.written()).toEqual({ high: 'open' }));
  await stage.redis.del(pool.keys.priorities);
  await stage.redis.lpush(pool.keys.queue, 'a');
  await eventually(async () => expect(await pool.written()).toEqual({ high: 'open' }));
  await stage.redis.del(pool.keys.queue);
  await pool.remove();
  await eventually(async () => expect(await pool.written()).toEqual({ high: 'closed' }));
  await eventually(async () => expect(await pool.noted()).toEqual([]));
});

test('one that was taken away, and is there again as Redis went back: refused, and served until it is empty', async () => {
  const pool = await create({ priorities: ['high', 'low'] });
  await using queue = pool.open();
  await pool.make();
  await eventually(() => queue.enqueue({ id: 'a' }, { priority: 'high' }));
  await pool.shows({ waiting: 1, priorities: ['high', 'low'] });
  await stage.redis.save();
  await stage.redis.del(pool.high);
  await pool.edit({ priorities: null });
  await pool.workersAreTold(undefined);
  await eventually(async () => expect(await pool.written()).toEqual({}));
  expect(await pool.noted()).toEqual([]);

  await stage.world.redis.restart();
  await pool.shows({ waiting: 1, priorities: ['high'] });
  expect(await pool.written()).toEqual({ high: 'closed' });
  await expect(queue.enqueue({}, { priority: 'high' })).rejects.toThrow(/serves no tasks of high priority/);
  await pool.workersAreTold('high');
  await stage.redis.del(pool.high);
  await pool.workersAreTold(undefined);
  await eventually(async () => expect(await pool.written()).toEqual({}));
  expect(await pool.noted()).toEqual([]);
});

test('of two pools on one queue, the end of one refuses nothing that the other serves', async () => {
  const one = await create({ priorities: ['high', 'low'] });
  await one.make();
  const { namespace } = (await one.read()).metadata;
  const { queue, result } = one.keys;
  const spec = { queue, result, priorities: ['high'] };
  await stage.world.objects.create(POOLS, namespace, poolManifest('more', stage.world.redis, spec));
  const other: ObjectRef = { namespace, name: 'more' };
  await eventually(async () => {
    expect(await one.written()).toEqual({ high: 'open', low: 'open' });
    expect((await stage.world.objects.get(POOLS, other)).status).toMatchObject({ priorities: ['high'] });
  });
  await one.remove();
  await eventually(async () => expect(await one.written()).toEqual({ high: 'open', low: 'closed' }));
});

test('a queue with limits has no priorities, and the pool says so', async () => {
  const pool = await create({ priorities: ['high'] });
  await setLimits(defineScripts(stage.redis), pool.keys, { rate: '5/s' }, 'millrace limits');
  await pool.make();
  await eventually(async () =>
    expect(conditionText(await pool.read(), 'Ready')).toMatch(
      /^False InvalidSpec .*has limits, which would not hold for its tasks of other priorities/,
    ),
  );
  expect(await pool.written()).toEqual({});
});
