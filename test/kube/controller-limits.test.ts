/** Limits of a pool on a real API server and a real Redis: the controller writes them and sizes by them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import { ownerOf, setLimits } from '../../queue/limits/limits.ts';
import { holdTask } from '../../queue/outcomes/held-task.ts';
import { POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { version } from '../../runtime/version.ts';
import { eventually } from '../support/eventually.ts';
import { jobPods, startJobController } from '../support/job-pods.ts';
import { millrace } from '../support/millrace.ts';
import { useStage } from '../support/stage.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';

const stage = useStage();
// the end of a pool waits for Kubernetes to collect what it owned
let controllers: AsyncDisposable | undefined;
beforeAll(async () => void (controllers = await startJobController(stage.world)));
afterAll(async () => await controllers?.[Symbol.asyncDispose]());

async function create(spec: Json) {
  const { world, redis } = stage;
  const namespace = await world.namespace();
  const keys = queueKeys(namespace, `${namespace}:result`);
  const { queue, result } = keys;
  const pool = (name: string) => {
    const ref: ObjectRef = { namespace, name };
    return {
      by: ownerOf(`${namespace}/${name}`),
      make: (other: Json = {}): Promise<unknown> =>
        world.objects.create(
          POOLS,
          namespace,
          poolManifest(name, world.redis, { queue, result, ...spec, ...other }),
        ),
      read: (): Promise<WorkerPool> => world.objects.get(POOLS, ref),
      edit: (change: Json) => world.objects.patch(POOLS, ref, { spec: change }),
      remove: () => world.objects.remove(POOLS, ref),
      gone: () =>
        eventually(
          async () => await expect(world.objects.get(POOLS, ref)).rejects.toMatchObject({ notFound: true }),
        ),
      status: (text: string | undefined) =>
        eventually(async () => expect((await world.objects.get(POOLS, ref)).status?.limits).toBe(text)),
    };
  };
  return {
    namespace,
    keys,
    pool,
    tiles: pool('tiles'),
    push: (...tasks: string[]) => redis.lpush(queue, ...tasks),
    written: () => redis.hgetall(keys.limits),
    /** In the name of a worker. */
    take: (worker: string) =>
      holdTask(defineScripts(redis), keys, worker, 600_000, { concurrency: 1, version }),
    cli: (...flags: string[]) =>
      millrace(['limits', '--queue', queue, ...flags], { env: { MILLRACE_REDIS_URL: world.redis.url } }),
  };
}

describe.concurrent('limits', () => {
  test('are written, and no more replicas are wanted than they fill', async () => {
    const { tiles, push, written } = await create({
      limits: { concurrency: 2 },
      scaling: { tasksPerReplica: 1 },
    });
    await push(...Array.from({ length: 9 }, (_, i) => `task ${i}`));
    await tiles.make();
    await eventually(async () => {
      expect(await written()).toMatchObject({ by: tiles.by, concurrency: '2' });
      const { status } = await tiles.read();
      expect(status).toMatchObject({ limits: '2 at once', desiredReplicas: 2 });
      expect(status?.lastDecision).toMatch(/7 more wait for the limits of their queue \(2 at once\)/);
    });
  });

  test('of another pool on the queue stay, and the pool says whose they are', async () => {
    const { tiles, keys, written } = await create({ limits: { rate: '5/s' } });
    await setLimits(defineScripts(stage.redis), keys, { concurrency: 1 }, ownerOf('other/pool'));
    await tiles.make();
    await eventually(async () =>
      expect(conditionText(await tiles.read(), 'Ready')).toContain('are set by pool other/pool'),
    );
    expect(await written()).toMatchObject({ concurrency: '1' });
  });

  test('follow the spec, and go with the field', async () => {
    const { tiles, written } = await create({ limits: { rate: '5/s', concurrency: 2 } });
    await tiles.make();
    await tiles.status('5/s, 2 at once');
    await tiles.edit({ limits: { rate: '10/m', concurrency: 3 } });
    await tiles.status('10/m, 3 at once');
    expect(await written()).toMatchObject({ rate: '10', rateMs: '60000', concurrency: '3' });
    await tiles.edit({ limits: { rate: null } });
    await tiles.status('3 at once');
    expect(Object.keys(await written()).toSorted()).toEqual(['at', 'by', 'concurrency']);
    await tiles.edit({ limits: null });
    await tiles.status(undefined);
    expect(await written()).toEqual({});
    await tiles.edit({ limits: { concurrency: 1 } });
    await tiles.status('1 at once');
    expect(await written()).toMatchObject({ by: tiles.by, concurrency: '1' });
  });

  test('that are removed as soon as they are written do not stay behind', async () => {
    const { tiles, written } = await create({ limits: { concurrency: 2 } });
    await tiles.make();
    await eventually(async () => expect(await written()).toMatchObject({ concurrency: '2' }), {
      everyMs: 1,
    });
    await tiles.edit({ limits: null });
    await eventually(async () => expect(await written()).toEqual({}));
  });

  test('that were removed do not stay when Redis goes back to a time before that', async () => {
    const { tiles, keys, written, push } = await create({ limits: { concurrency: 2 } });
    await tiles.make();
    await tiles.status('2 at once');
    const before = await written();
    await tiles.edit({ limits: null });
    await tiles.status(undefined);
    await eventually(async () => expect(await written()).toEqual({}));
    // a sample without them is seen
    await push('task');
    await eventually(async () => expect((await tiles.read()).status?.waiting).toBe(1));
    await stage.redis.hset(keys.limits, before);
    await push('another');
    await eventually(async () => expect(await written()).toEqual({}));
  });

  test('of another field give back what was held for the old one', async () => {
    const { tiles, keys, push, take, written } = await create({
      limits: { perKey: { field: 'customer', concurrency: 1 } },
    });
    await tiles.make();
    await tiles.status('for each customer 1 at once');
    const tasks = ['1', '2', '3'].map((id) => `{"id":"${id}","customer":"acme","host":"h${id}"}`);
    await push(...tasks);
    expect(await take('one')).toBe(true);
    expect(await take('two')).toBe(false);
    expect(await stage.redis.zscore(keys.held, 'acme')).toBe('2');
    await tiles.edit({ limits: { perKey: { field: 'host' } } });
    await tiles.status('for each host 1 at once');
    expect(await written()).toMatchObject({ field: 'host' });
    // in their order; what runs counts for its host
    expect(await stage.redis.lrange(keys.queue, 0, -1)).toEqual([tasks[2], tasks[1]]);
    expect(await stage.redis.hgetall(keys.limitRunning)).toEqual({ h1: '1' });
    expect(await take('two')).toBe(true);
    expect(await take('three')).toBe(true);
  });

  test('go with the pool, and what was held is in the queue', async () => {
    const { tiles, keys, push, take, written } = await create({
      limits: { perKey: { field: 'customer', concurrency: 1 } },
    });
    await tiles.make();
    await tiles.status('for each customer 1 at once');
    await push('{"id":"1","customer":"acme"}', '{"id":"2","customer":"acme"}');
    expect(await take('one')).toBe(true);
    expect(await take('two')).toBe(false);
    await tiles.remove();
    await tiles.gone();
    expect(await written()).toEqual({});
    expect(await stage.redis.lrange(keys.queue, 0, -1)).toEqual(['{"id":"2","customer":"acme"}']);
    expect(await take('two')).toBe(true);
  });

  test('that millrace limits has set stay when a pool without limits ends', async () => {
    const { tiles, cli, written } = await create({});
    expect(await cli('--rate', '7/s')).toMatchObject({ code: 0 });
    await tiles.make();
    await eventually(async () => expect(conditionText(await tiles.read(), 'Ready')).toBeDefined());
    await tiles.remove();
    await tiles.gone();
    expect(await written()).toMatchObject({ by: 'millrace limits', rate: '7' });
  });

  test('of two pools on one queue: the second waits, and has its own when the first is gone', async () => {
    const { pool, cli, written } = await create({});
    const [first, second] = [pool('first'), pool('second')];
    await first.make({ limits: { concurrency: 1 } });
    await first.status('1 at once');
    await second.make({ limits: { concurrency: 2 } });
    await eventually(async () =>
      expect(conditionText(await second.read(), 'Ready')).toMatch(
        /^False LimitsTaken .* are set by pool test-\d+\/first/,
      ),
    );
    expect(await cli('--max-running', '9')).toMatchObject({ code: 1 });
    expect(await written()).toMatchObject({ by: first.by, concurrency: '1' });
    // those of the first one are not the second's to remove
    await second.edit({ limits: null });
    await eventually(async () =>
      expect(conditionText(await second.read(), 'Ready')).not.toContain('LimitsTaken'),
    );
    expect(await written()).toMatchObject({ by: first.by, concurrency: '1' });
    await second.edit({ limits: { concurrency: 2 } });
    await first.remove();
    await first.gone();
    await second.status('2 at once');
    expect(await written()).toMatchObject({ by: second.by, concurrency: '2' });
    await eventually(async () =>
      expect(conditionText(await second.read(), 'Ready')).not.toContain('LimitsTaken'),
    );
  });
});

describe('limits of a Job for each task', () => {
  test('bound the Jobs, hold back tasks of a key, and are free when a Job ends', async () => {
    const template = { spec: { containers: [{ name: 'main', image: 'ffmpeg:7' }] } };
    const limits = { concurrency: 2, perKey: { field: 'customer', concurrency: 1 } };
    const { namespace, tiles, keys, push } = await create({ runAs: 'Job', maxReplicas: 5, template, limits });
    const { jobs, podOf, end } = jobPods(stage.world.objects, namespace);
    await tiles.make();
    await tiles.status('2 at once, for each customer 1 at once');
    const [a1, a2, b1, c1] = ['a1', 'a2', 'b1', 'c1'].map(
      (id) => `{"id":"${id}","customer":"${id.charAt(0)}"}`,
    ) as [string, string, string, string];
    await push(a1, a2, b1, c1);
    await podOf(a1);
    await podOf(b1);
    const tasks = async (): Promise<string[]> =>
      (await jobs())
        .map(({ metadata }) => metadata.annotations?.['millrace.dev/task-id'] ?? '')
        .toSorted((one, other) => one.localeCompare(other));
    await eventually(async () =>
      expect((await tiles.read()).status).toMatchObject({ waiting: 2, inFlight: 2, replicas: 2 }),
    );
    expect(await tasks()).toEqual(['a1', 'b1']);
    // passed over for b1
    expect(await stage.redis.zscore(keys.held, 'a')).toBe('1');
    await end(b1, { message: 'b' });
    // a2 is held for a1, which runs
    await podOf(c1);
    expect(await tasks()).toEqual(['a1', 'b1', 'c1']);
    await end(a1, { exitCode: 1, reason: 'Error' });
    await podOf(a2);
    await end(c1, { message: 'c' });
    await end(a2, { message: 'a' });
    // the second attempt of the one that failed
    await end(a1, { message: 'a' });
    await eventually(async () => expect(await stage.redis.hlen(keys.result)).toBe(4));
    await eventually(async () =>
      expect(await stage.redis.exists(keys.limitSlots, keys.limitRunning)).toBe(0),
    );
  });
});

describe('limits while something is away', () => {
  test('what changes without a controller is done by the next one', async () => {
    const changed = await create({ limits: { concurrency: 2 } });
    const removed = await create({ limits: { concurrency: 2 } });
    for (const { tiles } of [changed, removed]) {
      await tiles.make();
      await tiles.status('2 at once');
    }
    await stage.controller.kill();
    await changed.tiles.edit({ limits: { concurrency: 5 } });
    await removed.tiles.edit({ limits: null });
    // as one that ended before it wrote the status
    await stage.world.objects.patch(
      POOLS,
      { namespace: removed.namespace, name: 'tiles' },
      { status: { limits: null } },
      'status',
    );
    await stage.startController();
    await changed.tiles.status('5 at once');
    expect(await changed.written()).toMatchObject({ by: changed.tiles.by, concurrency: '5' });
    await eventually(async () => expect(await removed.written()).toEqual({}));
  });

  test('what changes without Redis is done when it is back, also where that has lost them', async () => {
    const changed = await create({ limits: { concurrency: 2 } });
    const removed = await create({ limits: { concurrency: 2 } });
    const same = await create({ limits: { concurrency: 2 } });
    for (const { tiles } of [changed, removed, same]) {
      await tiles.make();
      await tiles.status('2 at once');
    }
    const { redis } = stage.world;
    redis.stop();
    await changed.tiles.edit({ limits: { concurrency: 5 } });
    await removed.tiles.edit({ limits: null });
    await eventually(async () =>
      expect(conditionText(await changed.tiles.read(), 'Ready')).toMatch(/^False RedisUnreachable/),
    );
    // what is not written is not reported
    expect((await changed.tiles.read()).status?.limits).toBe('2 at once');
    redis.cont();
    await changed.tiles.status('5 at once');
    await removed.tiles.status(undefined);
    expect(await changed.written()).toMatchObject({ concurrency: '5' });
    expect(await removed.written()).toEqual({});
    await redis.restart();
    await eventually(async () => expect(await same.written()).toMatchObject({ concurrency: '2' }));
    await eventually(async () => expect(await changed.written()).toMatchObject({ concurrency: '5' }));
    expect(await removed.written()).toEqual({});
  });
});
