/**
 * Deployments that pools adopt are watched: what the controller requests of the API server is counted here, request by request, and
 * a watch that stands still, or shows a Deployment that is gone, leads to no number that nobody decided.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { adoptedDeployment } from '../../controller/act/adopted-deployment.ts';
import { createAdoptedDeployments } from '../../controller/act/adopted-deployments.ts';
import { deploymentTarget } from '../../controller/act/deployment-target.ts';
import { nothingWritten } from '../../controller/act/other-writers.ts';
import type { PodsRead } from '../../controller/act/target-pods.ts';
import type { KubeApi } from '../../kube/api.ts';
import { createKubeApi } from '../../kube/client.ts';
import { DEPLOYMENTS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { Call } from '../../kube/transport.ts';
import type { Deployment } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { Redis } from 'ioredis';
import { startControllerInside } from '../support/controller-inside.ts';
import { eventually } from '../support/eventually.ts';
import { conditionText, poolManifest, startWorld, type Json, type World } from '../support/world.ts';

const bounded = { everyMs: 20 };
const labels = { app: 'existing' };

let world: World;
let redis: Redis;
let controller: AsyncDisposable | undefined;
/** Of the pool; its queue has the namespace's name. */
let ref: ObjectRef;
let theirs: ObjectRef;

beforeAll(async () => {
  world = await startWorld();
  redis = world.redis.client();
});
afterAll(() => world?.[Symbol.asyncDispose]());
beforeEach(async () => {
  const namespace = await world.namespace();
  ref = { namespace, name: 'tiles' };
  theirs = { namespace, name: 'existing' };
});
afterEach(async () => {
  await controller?.[Symbol.asyncDispose]();
  controller = undefined;
});

/** The API server, and each request for a Deployment, or for all of them, that was made of it, `GET existing`. */
function counted(): { readonly api: KubeApi; readonly requests: string[] } {
  const requests: string[] = [];
  const note = ({ method, path, query }: Call): void => {
    const [, rest] = path.split('/deployments');
    if (rest === undefined) return;
    // a pool's own are another matter
    const own = query?.['labelSelector'] === 'app.kubernetes.io/managed-by=millrace';
    const verb = query?.['watch'] ? 'WATCH' : rest === '' ? 'LIST' : method;
    if (!own) requests.push(`${verb} ${rest.slice(1)}`.trim());
  };
  const { transport } = world;
  const api = createKubeApi({
    ...transport,
    call: (call, options) => {
      note(call);
      return transport.call(call, options);
    },
    stream: (call, options) => {
      note(call);
      return transport.stream(call, options);
    },
  });
  return { api, requests };
}

const pool = (): Promise<WorkerPool> => world.objects.get(POOLS, ref);
const deployment = (): Promise<Deployment> => world.objects.get(DEPLOYMENTS, theirs);
const replicasAre = (count: number): Promise<void> =>
  eventually(async () => expect((await deployment()).spec?.replicas).toBe(count), bounded);
const says = (type: string, text: RegExp): Promise<void> =>
  eventually(async () => expect(conditionText(await pool(), type)).toMatch(text), bounded);
const waitingIs = (count: number): Promise<void> =>
  eventually(async () => expect((await pool()).status?.waiting).toBe(count), bounded);
const push = (...tasks: string[]): Promise<number> => redis.lpush(ref.namespace, ...tasks);

async function createTheirs(replicas: number, more: Json = {}): Promise<void> {
  const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'theirs:1' }] } };
  const spec = { replicas, selector: { matchLabels: labels }, template };
  await world.objects.create(DEPLOYMENTS, theirs.namespace, {
    metadata: { name: theirs.name, ...more },
    spec,
  });
}

async function createPool(spec: Json = {}): Promise<void> {
  const adopting = { template: undefined, scaleTargetRef: { name: theirs.name } };
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '1h' } };
  const manifest = poolManifest(ref.name, world.redis, {
    queue: ref.namespace,
    scaling,
    ...adopting,
    ...spec,
  });
  await world.objects.create(POOLS, ref.namespace, manifest);
}

/** Changes the pool, and resolves when the controller has seen that. */
async function reconciledWith(spec: Json): Promise<void> {
  const { metadata } = await world.objects.patch(POOLS, ref, { spec });
  await eventually(
    async () => expect((await pool()).status?.observedGeneration).toBe(metadata.generation),
    bounded,
  );
}

/** As a person does it with `kubectl scale`. */
const scaleByHand = (replicas: number): Promise<unknown> =>
  world.objects.patch(DEPLOYMENTS, theirs, { spec: { replicas } }, 'scale');

test('samples and reconciles request nothing of a Deployment that does not change', async () => {
  await createTheirs(1);
  await push('a', 'b');
  await createPool({ maxReplicas: 2 });
  const { api, requests } = counted();
  controller = startControllerInside(api, [ref.namespace]);
  await replicasAre(2);
  await waitingIs(2);
  // the claim, or what was read because of it, may still be under way
  await says('ScalingLimited', /^False/);
  await push('c');
  await says('ScalingLimited', /^True/);
  const before = requests.length;
  for (let waiting = 4; waiting < 10; waiting++) {
    await push(`${waiting}`);
    await waitingIs(waiting);
  }
  expect(requests.slice(before).filter((one) => one !== 'WATCH')).toEqual([]);
  expect(requests.filter((one) => one === 'LIST')).toEqual(['LIST']);
  // the claim of the replicas as they were, then the pool's number; each is read back until the watch shows it
  expect(requests.filter((one) => one.startsWith('PATCH'))).toEqual([
    'PATCH existing/scale',
    'PATCH existing/scale',
  ]);
});

test('one that is missing is asked for once, and adopted when it is created', async () => {
  await push('a');
  await createPool();
  const { api, requests } = counted();
  controller = startControllerInside(api, [ref.namespace]);
  await says('Ready', /^False NoTarget Deployment "existing" does not exist/);
  for (let maxReplicas = 20; maxReplicas < 24; maxReplicas++) await reconciledWith({ maxReplicas });
  expect(requests.filter((one) => one === 'GET existing')).toEqual(['GET existing']);
  await push('b', 'c');
  await createTheirs(1);
  await replicasAre(3);
  await says('Ready', /^True/);
});

test('one that was there before a pool named it is read once, then watched', async () => {
  // another pool, because of which the namespace is watched
  await createTheirs(1);
  await createPool();
  const { api, requests } = counted();
  controller = startControllerInside(api, [ref.namespace]);
  await says('Ready', /^True/);
  theirs = { ...theirs, name: 'second' };
  ref = { ...ref, name: 'pictures' };
  await createTheirs(1);
  const queue = `${ref.namespace}-pictures`;
  await createPool({ queue, mode: 'Paused' });
  await says('Ready', /^True Paused/);
  for (let maxReplicas = 20; maxReplicas < 24; maxReplicas++) await reconciledWith({ maxReplicas });
  expect(requests.filter((one) => one === 'GET second').length).toBeLessThanOrEqual(1);
  await scaleByHand(3);
  await eventually(async () => expect((await pool()).status?.desiredReplicas).toBe(3), bounded);
  expect(requests.filter((one) => one.endsWith('second') && !one.startsWith('GET'))).toEqual([]);
});

test('one that is deleted and created again is scaled as the new one', async () => {
  await createTheirs(1);
  await push('a', 'b');
  await createPool();
  controller = startControllerInside(counted().api, [ref.namespace]);
  await replicasAre(2);
  await world.objects.remove(DEPLOYMENTS, theirs);
  await says('Ready', /^False NoTarget/);
  await createTheirs(1);
  await replicasAre(2);
  await says('Ready', /^True/);
  await push('c');
  await replicasAre(3);
});

test('one that carries our label is not a pool’s own for that: it is adopted all the same', async () => {
  await createTheirs(1, { labels: { 'app.kubernetes.io/managed-by': 'millrace' } });
  await push('a', 'b');
  await createPool();
  controller = startControllerInside(counted().api, [ref.namespace]);
  await replicasAre(2);
  await world.objects.remove(DEPLOYMENTS, theirs);
  await says('Ready', /^False NoTarget/);
  await createTheirs(1, { labels: { 'app.kubernetes.io/managed-by': 'millrace' } });
  await replicasAre(2);
});

test('a pool that names another Deployment leaves the first as it is', async () => {
  await createTheirs(1);
  await push('a', 'b');
  await createPool();
  controller = startControllerInside(counted().api, [ref.namespace]);
  await replicasAre(2);
  theirs = { ...theirs, name: 'second' };
  await createTheirs(1);
  await world.objects.patch(POOLS, ref, { spec: { scaleTargetRef: { name: 'second' } } });
  await replicasAre(2);
  await push('c');
  await replicasAre(3);
  theirs = { ...theirs, name: 'existing' };
  expect((await deployment()).spec?.replicas).toBe(2);
});

test('pods of an adopted Deployment are listed again only when it has changed, or after a minute', async () => {
  await createTheirs(2);
  await createPool();
  const [adopter, real] = [await pool(), createKubeApi(world.transport)];
  let lists = 0;
  const list: KubeApi['list'] = (...call) => {
    lists++;
    return real.list(...call);
  };
  let podsRead: PodsRead | undefined;
  /** As in a reconcile of a scale-in. Resolves to whether the members are those of a new list. */
  const membersAt = async (now: number): Promise<boolean> => {
    const target = deploymentTarget({
      api: { ...real, list },
      pool: adopter,
      applied: undefined,
      known: undefined,
      adopted: { find: async () => adoptedDeployment(await deployment()) },
      pods: () => [],
      taken: new Set(),
      service: { p99Ms: undefined, idle: true },
      rival: undefined,
      written: nothingWritten,
      podsRead,
      applier: undefined,
      parking: undefined,
      now,
      signal: new AbortController().signal,
    });
    await target.observe();
    const { fresh, wanted } = await target.members();
    expect(wanted).toBe(2);
    podsRead = target.podsRead;
    return fresh;
  };
  expect(await membersAt(0)).toBe(true);
  expect(await membersAt(59_999)).toBe(false);
  expect(await membersAt(60_000)).toBe(true);
  expect(await membersAt(61_000)).toBe(false);
  await world.objects.patch(DEPLOYMENTS, theirs, { status: { replicas: 2 } }, 'status');
  expect(await membersAt(62_000)).toBe(true);
  expect(await membersAt(63_000)).toBe(false);
  expect(lists).toBe(3);
});

describe('a watch that stands still', () => {
  /** From the call of `stop` until that of `resume`, no watch reports a Deployment. */
  function withStandstill(api: KubeApi): {
    readonly api: KubeApi;
    readonly stop: () => void;
    readonly resume: () => void;
  } {
    const resumed = Promise.withResolvers<void>();
    let still = false;
    return {
      api: {
        ...api,
        watch: async function* (resource, ...rest) {
          for await (const event of api.watch(resource, ...rest)) {
            if (still && resource.plural === 'deployments') await resumed.promise;
            yield event;
          }
        },
      },
      stop: () => (still = true),
      resume: resumed.resolve,
    };
  }

  test.each([
    ['adopted', {}],
    ['own', { template: { spec: { containers: [{ name: 'worker', image: 'worker:1' }] } } }],
  ])('does not let an %s Deployment be lowered that somebody has raised further', async (of, spec) => {
    const done: string[] = [];
    const real = createKubeApi(world.transport);
    const { api, stop, resume } = withStandstill({
      ...real,
      list: (resource, selection, page, ...rest) => {
        if (resource.plural === 'pods' && page.limit === 500) done.push('pods listed');
        return real.list(resource, selection, page, ...rest);
      },
      deployments: {
        ...real.deployments,
        setReplicas: async (to, replicas, options) => {
          const writing = real.deployments.setReplicas(to, replicas, options);
          await writing.then(
            () => done.push(`${replicas} written`),
            () => done.push(`${replicas} refused`),
          );
          return writing;
        },
      },
    });
    if (of === 'own') theirs = ref;
    else await createTheirs(1);
    await push('a', 'b');
    await createPool(of === 'own' ? { ...spec, scaleTargetRef: undefined } : spec);
    controller = startControllerInside(api, [ref.namespace]);
    await replicasAre(2);
    await eventually(async () => expect((await pool()).status?.desiredReplicas).toBe(2), bounded);
    stop();
    await scaleByHand(9);
    done.length = 0;
    await push('c', 'd', 'e');
    // there are no pods, so a scale-in may remove all that are too many; a scale-out may not
    await replicasAre(5);
    await eventually(() => expect(done).toContain('5 written'), bounded);
    expect(done[0]).toBe('5 refused');
    expect(done.indexOf('pods listed')).toBeGreaterThan(0);
    expect(done.indexOf('pods listed')).toBeLessThan(done.indexOf('5 written'));
    resume();
    await push('f', 'g', 'h', 'i', 'j');
    await replicasAre(10);
  });
});

describe('what is watched', () => {
  /** Pools that adopt `existing` in these namespaces. */
  async function watch(namespaces: readonly string[], only: readonly string[] = []) {
    const { api, requests } = counted();
    const ended = new AbortController();
    const adopted = createAdoptedDeployments({
      api,
      namespaces: only,
      onPool: () => undefined,
      onError: () => undefined,
      signal: ended.signal,
    });
    const adopt = (namespace: string): void =>
      adopted.pool(`${namespace}/tiles`, { spec: { scaleTargetRef: { name: 'existing' } } } as WorkerPool);
    for (const namespace of namespaces) adopt(namespace);
    await adopted.begin();
    return {
      adopt,
      adopted,
      requests,
      [Symbol.asyncDispose]: async () => {
        ended.abort();
        await adopted.stopped();
      },
    };
  }
  const lists = (requests: readonly string[]): number => requests.filter((one) => one === 'LIST').length;
  const find = (adopted: Awaited<ReturnType<typeof watch>>['adopted'], namespace: string) =>
    adopted.find({ namespace, name: 'existing' }, () => false);

  test('nothing while no pool adopts a Deployment', async () => {
    await using watching = await watch([]);
    expect(watching.requests).toEqual([]);
    expect(watching.adopted.stats()).toBeUndefined();
  });

  test('a namespace, as long as a pool in it does', async () => {
    await createTheirs(4);
    await using watching = await watch([theirs.namespace]);
    expect((await find(watching.adopted, theirs.namespace))?.replicas).toBe(4);
    await scaleByHand(5);
    await eventually(
      async () => expect((await find(watching.adopted, theirs.namespace))?.replicas).toBe(5),
      bounded,
    );
    expect(watching.requests.filter((one) => !['LIST', 'WATCH'].includes(one))).toEqual([]);
    watching.adopted.pool(`${theirs.namespace}/tiles`, undefined);
    expect(watching.adopted.stats()).toBeUndefined();
  });

  test('all namespaces by one watch, once many have such pools', async () => {
    await createTheirs(4);
    const few = Array.from({ length: 15 }, (_, i) => `elsewhere-${i}`);
    await using watching = await watch([...few, theirs.namespace]);
    expect(lists(watching.requests)).toBe(16);
    watching.adopt('elsewhere-15');
    await eventually(() => expect(lists(watching.requests)).toBe(17), bounded);
    await scaleByHand(6);
    await eventually(
      async () => expect((await find(watching.adopted, theirs.namespace))?.replicas).toBe(6),
      bounded,
    );
    expect(watching.requests.filter((one) => one.startsWith('GET'))).toEqual([]);
    // one more needs no watch of its own
    watching.adopt('elsewhere-16');
    expect(lists(watching.requests)).toBe(17);
  });

  test('each namespace by itself where the controller may see no others', async () => {
    const many = Array.from({ length: 18 }, (_, i) => `elsewhere-${i}`);
    await using watching = await watch(many, many);
    expect(lists(watching.requests)).toBe(18);
  });
});
