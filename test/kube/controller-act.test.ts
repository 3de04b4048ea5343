/**
 * What is true when a scale-in is decided may not be when it is written. Here something changes in between, is observed late,
 * or only looks like a drained worker: no pod is stopped while it works.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { deploymentTarget, type DeploymentTarget } from '../../controller/act/deployment-target.ts';
import { initialParkingState } from '../../controller/act/parked/resize.ts';
import type { Applied } from '../../controller/act/owned-deployment.ts';
import { knownDeployment, type KnownDeployment } from '../../controller/act/known-deployment.ts';
import { nothingWritten } from '../../controller/act/other-writers.ts';
import type { KubeApi } from '../../kube/api.ts';
import { createKubeApi } from '../../kube/client.ts';
import { DEPLOYMENTS, PODS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import { queueKeys } from '../../queue/keys.ts';
import { startControllerInside } from '../support/controller-inside.ts';
import { eventually } from '../support/eventually.ts';
import { playPodWorkers, type PodWorkers } from '../support/pod-workers.ts';
import {
  conditionText,
  playDeployments,
  poolManifest,
  startWorld,
  type Json,
  type World,
} from '../support/world.ts';

const bounded = { everyMs: 20 };
const labels = { app: 'existing' };

let world: World;
let ref: ObjectRef;
let pods: PodWorkers | undefined;
let controller: AsyncDisposable | undefined;
const playing = new AbortController();

beforeAll(async () => {
  world = await startWorld();
  await playDeployments(world.transport, playing.signal);
});
afterAll(async () => {
  playing.abort();
  await world?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  ref = { namespace: await world.namespace(), name: 'tiles' };
});
afterEach(async () => {
  await controller?.[Symbol.asyncDispose]();
  await pods?.[Symbol.asyncDispose]();
  controller = undefined;
  pods = undefined;
});

/** The controller, in this process, with the API server as `change` makes it look. */
function control(change: (api: KubeApi) => Partial<KubeApi> = () => ({})): AsyncDisposable {
  const real = createKubeApi(world.transport);
  return startControllerInside({ ...real, ...change(real) }, [ref.namespace]);
}

async function createPool(spec: Json = {}): Promise<void> {
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  const manifest = poolManifest(ref.name, world.redis, { queue: ref.namespace, scaling, ...spec });
  await world.objects.create(POOLS, ref.namespace, manifest);
}

async function createTheirs(replicas: number): Promise<void> {
  const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'theirs:1' }] } };
  const spec = { replicas, selector: { matchLabels: labels }, template };
  await world.objects.create(DEPLOYMENTS, ref.namespace, { metadata: { name: ref.name }, spec });
}

const adopting = { template: undefined, scaleTargetRef: { name: 'tiles' } };
const play = async (idOf?: (pod: string) => string): Promise<PodWorkers> => {
  const queue = ref.namespace;
  const options = { world, deployment: ref, queues: [queue] as const, result: 'tiles:result' };
  return (pods = await playPodWorkers({ ...options, ...(idOf && { idOf }) }));
};
const push = async (...tasks: string[]): Promise<void> => {
  const redis = world.redis.client();
  await redis.lpush(ref.namespace, ...tasks);
  redis.disconnect();
};
const replicasAre = (count: number): Promise<void> =>
  eventually(async () => {
    expect((await world.objects.get(DEPLOYMENTS, ref)).spec?.replicas).toBe(count);
    expect(pods?.play.pods).toHaveLength(count);
  }, bounded);
const cutOff = (): unknown[] => pods?.stopped.flatMap(({ tasks }) => tasks) ?? [];

test('a watch of pods that stands still makes no busy pod one that never came', async () => {
  const still = Promise.withResolvers<void>();
  let late = false;
  controller = control((real) => ({
    watch: async function* (resource, ...rest) {
      for await (const event of real.watch(resource, ...rest)) {
        if (late && resource.plural === 'pods') await still.promise;
        yield event;
      }
    },
  }));
  const { run, finish } = await play();
  await createPool();
  await push('a', 'b');
  await run('a', 'b');
  await replicasAre(2);
  late = true;
  await push('c', 'd', 'e', 'f', 'g', 'h');
  await run('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
  finish('c', 'd', 'e', 'f');
  await replicasAre(4);
  expect(cutOff()).toEqual([]);
  still.resolve();
});

test('replicas that are changed between the read and the write are read again, not overwritten', async () => {
  const writes: string[] = [];
  controller = control((real) => ({
    deployments: {
      ...real.deployments,
      setReplicas: async (to, replicas, options) => {
        // the first write claims the four that there are; it is the first that lowers them that is to meet somebody
        if (replicas < 4 && !writes.some((one) => one.endsWith('refused')))
          await world.objects.patch(DEPLOYMENTS, ref, { spec: { replicas: 6 } }, 'scale');
        const written = real.deployments.setReplicas(to, replicas, options);
        await written.then(
          () => writes.push(`${replicas}`),
          () => writes.push(`${replicas} refused`),
        );
        return written;
      },
    },
  }));
  await push('a', 'b', 'c', 'd');
  await createTheirs(4);
  const { run, finish } = await play();
  await run('a', 'b', 'c', 'd');
  await createPool(adopting);
  finish('a', 'c');
  await replicasAre(2);
  expect(cutOff()).toEqual([]);
  expect(writes[0]).toBe('4');
  expect(writes[1]).toMatch(/^[23] refused$/);
  // noted once the API server has answered
  await eventually(() => expect(writes.at(-1)).toBe('2'));
});

test('a foreign pod with the labels is no replica to remove; the status names it', async () => {
  controller = control();
  await push('a', 'b', 'c');
  await createTheirs(3);
  const { run, finish, play: replicaSet } = await play();
  await run('a', 'b', 'c');
  // of a CronJob, say: not ready, and never registered
  await world.objects.create(PODS, ref.namespace, {
    metadata: { name: 'nightly-report', labels },
    spec: { containers: [{ name: 'main', image: 'gone:1' }] },
  });
  await createPool(adopting);
  const idle = pods?.running.get('b');
  finish('b');
  await replicasAre(2);
  expect(pods?.stopped).toEqual([{ pod: idle, tasks: [] }]);
  expect(replicaSet.pods).not.toContain(idle);
  await eventually(
    async () =>
      expect(conditionText(await world.objects.get(POOLS, ref), 'ForeignPods')).toMatch(
        /^True NotOwned Pod nightly-report /,
      ),
    bounded,
  );
  const stray = await world.objects.get(PODS, { namespace: ref.namespace, name: 'nightly-report' });
  expect(stray.metadata.annotations).toBeUndefined();
});

test('a pod that is not ready but works under a name of its own is waited for', async () => {
  controller = control();
  await push('a', 'b');
  await createTheirs(2);
  const { run, finish, play: replicaSet } = await play((pod) => `${pod}-1`);
  await run('a', 'b');
  const pod = pods?.running.get('a') ?? '';
  await replicaSet.setReady(pod, false);
  await createPool(adopting);
  finish('b');
  const redis = world.redis.client();
  const keys = queueKeys(ref.namespace, 'tiles:result');
  await eventually(async () => expect(await redis.zscore(keys.leaving, `${pod}-1`)).not.toBeNull(), bounded);
  await eventually(
    async () => expect(await redis.hget(keys.worker(`${pod}-1`), 'state')).toBe('draining'),
    bounded,
  );
  redis.disconnect();
  expect(pods?.stopped).toEqual([]);
  finish('a');
  await replicasAre(0);
  expect(cutOff()).toEqual([]);
});

test('a write without a change does not make a watch count as late for ever', async () => {
  await createPool();
  const pool = await world.objects.get(POOLS, ref);
  const api = createKubeApi(world.transport);
  const targetWith = (applied: Applied | undefined, known: KnownDeployment | undefined): DeploymentTarget =>
    deploymentTarget({
      api,
      pool,
      applied,
      known,
      adopted: { find: () => Promise.reject(new Error('nothing is adopted')) },
      pods: () => [],
      taken: new Set(),
      service: { p99Ms: undefined, idle: true },
      rival: undefined,
      written: nothingWritten,
      podsRead: undefined,
      applier: undefined,
      parking: initialParkingState(),
      now: 0,
      signal: new AbortController().signal,
    });
  const first = targetWith(undefined, undefined);
  await first.observe();
  await first.raise(3);
  // what it observed is no longer so
  expect(await first.raise(3)).toBe(false);
  const deployment = await world.objects.get(DEPLOYMENTS, ref);
  const { generation } = deployment.metadata;
  // as after a write of the three that somebody else was faster with
  const ahead = first.applied && { ...first.applied, generation: (generation ?? 0) + 1 };
  const next = targetWith(ahead, knownDeployment(deployment));
  expect((await next.observe()).wanted).toBe(3);
  expect(next.applied?.generation).toBe(generation);
});

test('pods that have ended and stay are neither members nor in the way', async () => {
  controller = control();
  await push('a', 'b');
  await createTheirs(2);
  const { run, finish, play: replicaSet } = await play();
  await run('a', 'b');
  const [like = ''] = replicaSet.pods;
  const { metadata, spec } = await world.objects.get(PODS, { namespace: ref.namespace, name: like });
  for (const phase of ['Failed', 'Succeeded']) {
    const name = `tiles-${phase.toLowerCase()}`;
    const { labels: own, ownerReferences } = metadata;
    const containers = spec?.containers.map(({ name: container, image }) => ({ name: container, image }));
    await world.objects.create(PODS, ref.namespace, {
      metadata: { name, labels: own, ownerReferences },
      spec: { containers },
    });
    await world.objects.patch(PODS, { namespace: ref.namespace, name }, { status: { phase } }, 'status');
  }
  await createPool(adopting);
  finish('a');
  await replicasAre(1);
  expect(cutOff()).toEqual([]);
  finish('b');
  await replicasAre(0);
});
