/**
 * Parked replicas on a real API server, which checks and stores resizes, and a real Redis with real workers. Nobody runs the pods,
 * so a test plays the kubelet where it refuses a resize.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EVENTS, PODS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { Pod } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { metric } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { playPodWorkers, type PodWorkers } from '../support/pod-workers.ts';
import { useStage } from '../support/stage.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';

const bounded = { everyMs: 20 };
const stage = useStage({ deployments: true });
let ref: ObjectRef;
let keys: QueueKeys;
let pods: PodWorkers | undefined;

beforeEach(async () => {
  ref = { namespace: await stage.world.namespace(), name: 'tiles' };
  keys = queueKeys(ref.namespace, 'tiles:result');
});
afterEach(async () => {
  await pods?.[Symbol.asyncDispose]();
  pods = undefined;
});

const half = { requests: { cpu: '500m', memory: '128Mi' }, limits: { memory: '256Mi' } };

async function createPool(spec: Json = {}, resources: Json = half): Promise<void> {
  const deployment = { deployment: ref, queues: [ref.namespace] as const, result: keys.result };
  pods = await playPodWorkers({ world: stage.world, ...deployment });
  await stage.world.objects.create(
    POOLS,
    ref.namespace,
    poolManifest(ref.name, stage.world.redis, {
      queue: ref.namespace,
      scaling: { tasksPerReplica: 1, scaleDown: { window: '0s' } },
      parked: { replicas: 2 },
      template: { spec: { containers: [{ name: 'worker', image: 'worker:1', resources }] } },
      ...spec,
    }),
  );
}

const pool = (): Promise<WorkerPool> => stage.world.objects.get(POOLS, ref);
const push = (...tasks: string[]): Promise<number> => stage.redis.lpush(keys.queue, ...tasks);
const podsNow = async (): Promise<Pod[]> =>
  (await stage.world.objects.list(PODS, ref.namespace)).filter(({ metadata }) => !metadata.deletionTimestamp);
const sizeOf = ({ spec }: Pod): string => spec?.containers[0]?.resources?.requests?.['cpu'] ?? 'none';
/** What the pods request, smallest first. */
const sizesAre = (...sizes: string[]): Promise<void> =>
  eventually(async () => expect((await podsNow()).map(sizeOf).toSorted()).toEqual(sizes), bounded);
const sizeOfPod = async (name: string | undefined): Promise<string> =>
  sizeOf(await stage.world.objects.get(PODS, { namespace: ref.namespace, name: name ?? '' }));
const conditionIs = (pattern: RegExp): Promise<void> =>
  eventually(async () => expect(conditionText(await pool(), 'ParkingFailed')).toMatch(pattern), bounded);
const notes = async (reason: string): Promise<string[]> =>
  (await stage.world.objects.list(EVENTS, ref.namespace))
    .filter((event) => event.reason === reason)
    .map(({ note = '' }) => note);

test('the last replicas are parked instead of removed, wake with the work, and are parked again', async () => {
  await createPool();
  await sizesAre('10m', '10m');
  await eventually(async () => {
    expect((await pool()).status).toMatchObject({ replicas: 2, parkedReplicas: 2, desiredReplicas: 0 });
    expect(conditionText(await pool(), 'ParkingFailed')).toBeUndefined();
  }, bounded);
  const [first] = await podsNow();
  expect(first?.spec?.containers[0]?.resources).toEqual({
    requests: { cpu: '10m', memory: '128Mi' },
    limits: { memory: '256Mi' },
  });
  const before = pods?.play.pods.toSorted();

  await push('a');
  await pods?.run('a');
  await sizesAre('10m', '500m');
  expect(await sizeOfPod(pods?.running.get('a'))).toBe('500m');

  // more than are parked: all of them, and new ones
  await push('b', 'c');
  await sizesAre('500m', '500m', '500m');
  await pods?.run('a', 'b', 'c');
  await eventually(async () => expect((await pool()).status).toMatchObject({ parkedReplicas: 0 }), bounded);

  pods?.finish('a', 'b', 'c');
  await sizesAre('10m', '10m');
  expect(pods?.stopped).toEqual([expect.objectContaining({ tasks: [] })]);
  expect(await stage.redis.hlen(keys.result)).toBe(3);
  expect(before).toHaveLength(2);
  // each of them waits for the next task
  await eventually(async () => expect(await stage.redis.zcard(keys.leaving)).toBe(0), bounded);
  await eventually(async () => {
    expect(await notes('ReplicasWoken')).toContainEqual(
      expect.stringMatching(/^1 replica that was parked woken. 0→1: /),
    );
    expect(await notes('ReplicasParked')).not.toEqual([]);
  }, bounded);
  const { body } = await stage.controller.get('/metrics');
  const series = (name: string): string => `${name}{namespace="${ref.namespace}",pool="tiles"}`;
  expect(metric(body, series('millrace_pool_parked_replicas'))).toBe(2);
  expect(metric(body, series('millrace_pool_reserved_replicas'))).toBeCloseTo(2 * (10 / 500), 9);
});

test('another controller goes on, whatever was under way', async () => {
  await createPool();
  await sizesAre('10m', '10m');
  await push('a');
  await pods?.run('a');
  await sizesAre('10m', '500m');
  await stage.controller.kill();
  await push('b');
  await stage.startController();
  await sizesAre('500m', '500m');
  await pods?.run('a', 'b');
  await stage.controller.kill();
  pods?.finish('a', 'b');
  await stage.startController();
  // it holds for a window, which is none here
  await sizesAre('10m', '10m');
  expect(pods?.stopped).toEqual([]);
});

test('a replica whose node has no room works at the parked size, and another one is started', async () => {
  await createPool({ parked: { replicas: 1 } });
  await sizesAre('10m');
  const [name = ''] = pods?.play.pods ?? [];
  await push('a');
  await pods?.run('a');
  await sizesAre('500m');
  const pending = {
    type: 'PodResizePending',
    status: 'True',
    reason: 'Deferred',
    message: 'Node has no CPU',
  };
  const ready = { type: 'Ready', status: 'True' };
  const kubelet = (...conditions: Json[]): Promise<unknown> =>
    stage.world.objects.patch(PODS, { ...ref, name }, { status: { conditions } }, 'status');
  await kubelet(ready, pending);
  await conditionIs(
    /^True ResizePending Pod tiles-1 did not get .*Deferred: Node has no CPU.*other replicas are started/,
  );
  await sizesAre('500m', '500m');
  await kubelet(ready);
  await eventually(async () => expect(conditionText(await pool(), 'ParkingFailed')).toBeUndefined(), bounded);
  pods?.finish('a');
  await sizesAre('10m');
  expect(pods?.stopped).toEqual([expect.objectContaining({ tasks: [] })]);
});

test('what cannot be parked is said, and the pool scales to zero as others do', async () => {
  await createPool({}, { requests: { cpu: '1', memory: '1Gi' }, limits: { cpu: '1', memory: '1Gi' } });
  await conditionIs(/^True TemplateUnfit Each container .* class Guaranteed/);
  await push('a');
  await pods?.run('a');
  pods?.finish('a');
  await sizesAre();
});

test('what the API server refuses is said in its words, and tried again when the spec changes', async () => {
  const limits: Json = { limits: [{ type: 'Container', min: { cpu: '50m' } }] };
  const ranges = { group: '', version: 'v1', plural: 'limitranges' };
  await stage.world.objects.create(ranges, ref.namespace, { metadata: { name: 'least' }, spec: limits });
  await createPool();
  await conditionIs(/^True Refused Pod tiles-\d cannot be parked.*minimum cpu usage per Container is 50m/);
  await sizesAre();
  await stage.world.objects.patch(POOLS, ref, { spec: { parked: { cpu: '50m' } } });
  await sizesAre('50m', '50m');
  await eventually(async () => expect(conditionText(await pool(), 'ParkingFailed')).toBeUndefined(), bounded);
});

test('a pool that no longer parks wakes those that work, and removes the others', async () => {
  await createPool();
  await sizesAre('10m', '10m');
  await stage.world.objects.patch(POOLS, ref, { spec: { parked: { cpu: '20m' } } });
  // at what they were parked with
  await push('a');
  await pods?.run('a');
  await sizesAre('10m', '500m');
  await stage.world.objects.patch(POOLS, ref, { spec: { parked: null } });
  await sizesAre('500m');
  await eventually(async () => expect((await pool()).status).not.toHaveProperty('parkedReplicas'), bounded);
  pods?.finish('a');
  await sizesAre();
  expect(pods?.stopped.flatMap(({ tasks }) => tasks)).toEqual([]);
});
