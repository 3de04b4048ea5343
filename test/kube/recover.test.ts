/**
 * Workers that die: the pods are objects made by the tests; Redis and the workers in it are real. The tasks of a worker are
 * put back when its container ended and its connections are closed, and not before.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DEPLOYMENTS, EVENTS, PODS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { reap } from '../../queue/workers/reap.ts';
import { metric, startController, type ControllerProcess } from '../support/controller.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { startHandWorker } from '../support/turns.ts';
import { resultsOf, spawnWorker, startWorker, type WorkerProcess } from '../support/workers.ts';
import { conditionText, poolManifest, startWorld, type Json, type World } from '../support/world.ts';

const bounded = { everyMs: 20 };
/** So long that nothing here comes of its end. */
const LEASE = ['--lease', '1h'];
const LONG = { id: 'long', sleepMs: 3_600_000 };

let world: World;
let controller: ControllerProcess;
let redis: Redis;
/** Of the pool; queue and result are called after the namespace. */
let ref: ObjectRef;
let keys: QueueKeys;

beforeAll(async () => {
  world = await startWorld();
  redis = world.redis.client();
  // an ACL that refuses to list connections, for the controller of one pool
  await redis.acl('SETUSER', 'blind', 'on', '>secret', '~*', '&*', '+@all', '-client|list');
  controller = await startController({ kubeconfig: world.server.kubeconfig });
  await controller.leading();
});
afterAll(async () => {
  await controller?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  const namespace = await world.namespace();
  ref = { namespace, name: 'tiles' };
  keys = queueKeys(namespace, `${namespace}:result`);
});

async function createPool(spec: Json = {}): Promise<void> {
  const manifest = poolManifest('tiles', world.redis, { queue: keys.queue, result: keys.result, ...spec });
  await world.objects.create(POOLS, ref.namespace, manifest);
  await eventually(
    async () => expect(conditionText(await world.objects.get(POOLS, ref), 'Ready')).toMatch(/^True/),
    bounded,
  );
}

/** A pod that runs, of the pool unless `labels` say otherwise. */
async function createPod(labels: Json = { 'millrace.dev/pool': 'tiles' }): Promise<string> {
  const name = `tiles-${randomUUID().slice(0, 8)}`;
  const spec = { containers: [{ name: 'worker', image: 'worker:1' }] };
  await world.objects.create(PODS, ref.namespace, { metadata: { name, labels }, spec });
  await kubelet(name, { state: { running: { startedAt: new Date().toISOString() } } });
  return name;
}

/** Plays the kubelet: says how the container of a pod is. */
function kubelet(pod: string, container: Json): Promise<unknown> {
  const common = { name: 'worker', image: 'worker:1', imageID: '', ready: true, restartCount: 0 };
  const status = { phase: 'Running', containerStatuses: [{ ...common, ...container }] };
  return world.objects.patch(PODS, { ...ref, name: pod }, { status }, 'status');
}

const ended = (exitCode: number, reason: string, finishedAt = new Date()): Json => ({
  terminated: {
    exitCode,
    reason,
    containerID: `containerd://${randomUUID()}`,
    finishedAt: finishedAt.toISOString(),
  },
});

const removePod = (name: string): Promise<unknown> =>
  world.server.kubectl([
    'delete',
    'pod',
    name,
    '-n',
    ref.namespace,
    '--grace-period=0',
    '--force',
    '--wait=false',
  ]);

/** A worker in the name of a pod that works on a task that lasts. */
async function busyWorker(pod: string): Promise<WorkerProcess> {
  const worker = await spawnWorker(world.redis, keys, LEASE, pod);
  await redis.lpush(keys.queue, JSON.stringify(LONG));
  await eventually(async () => expect(await redis.hlen(keys.inflight(pod))).toBe(1), bounded);
  return worker;
}

async function die(worker: WorkerProcess): Promise<void> {
  worker.signal('SIGKILL');
  await worker.ended;
}

const notes = async (): Promise<string[]> =>
  (await world.objects.list(EVENTS, ref.namespace)).map(
    ({ type, reason, note }) => `${type} ${reason} ${note}`,
  );
const isTold = (note: string): Promise<void> =>
  eventually(async () => expect(await notes()).toContain(note), bounded);
const isBack = async (deliveries: number): Promise<void> => {
  await eventually(async () => expect(await redis.llen(keys.queue)).toBe(1), bounded);
  const next = await startHandWorker(redis, keys);
  expect((await next.turn({ want: 1 })).tasks).toMatchObject([{ past: { deliveries } }]);
};
const holds = (pod: string) => async () => expect(await redis.hlen(keys.inflight(pod))).toBe(1);
const recoveries = async (reason: string): Promise<number> =>
  metric((await controller.get('/metrics')).body, `millrace_recoveries_total{reason="${reason}"}`) ?? 0;

test('a container that ran out of memory: its task runs elsewhere immediately, and it is reported everywhere', async () => {
  await createPool();
  const pod = await createPod();
  await using worker = await busyWorker(pod);
  await using _warm = startWorker(world.redis, keys, { handler: () => 'done' });
  const before = await recoveries('OOMKilled');
  await die(worker);
  await kubelet(pod, { ready: false, state: ended(137, 'OOMKilled') });
  expect(Object.values(await resultsOf(redis, keys.result, 1))).toEqual(['done']);
  await isTold(
    `Warning WorkerRecovered ${pod} ended: OOMKilled (exit code 137). The task that it held is back in the queue.`,
  );
  expect(await redis.get(keys.fate(pod))).toBe('OOMKilled (exit code 137)');
  await eventually(async () => expect(await recoveries('OOMKilled')).toBe(before + 1), bounded);
  // nothing of it can be blocked in Redis, so there is no grave either
  expect(await redis.zscore(keys.workers, pod)).toBeNull();
});

describe('a worker that is still connected is alive', () => {
  test.each([
    ['its container is said to have ended', (pod: string) => kubelet(pod, { state: ended(1, 'Error') })],
    ['its pod was deleted by force', removePod],
  ])('%s', async (_, strike) => {
    await createPool();
    const pod = await createPod();
    await using worker = await busyWorker(pod);
    await strike(pod);
    await throughout(1_500, holds(pod));
    // and as soon as it is not, it does not
    await die(worker);
    await eventually(async () => expect(await redis.llen(keys.queue)).toBe(1), bounded);
  });
});

test('a pod that is deleted is no fault of its tasks', async () => {
  await createPool();
  const pod = await createPod();
  await using worker = await busyWorker(pod);
  await die(worker);
  await removePod(pod);
  await isBack(0);
  await isTold(
    `Normal WorkerRecovered ${pod} ended: its pod was deleted. The task that it held is back in the queue.`,
  );
});

test('a new life of the same name is not touched, and the word of the old one is kept', async () => {
  await createPool();
  const pod = await createPod();
  await using worker = await busyWorker(pod);
  await die(worker);
  await using _next = await spawnWorker(world.redis, keys, LEASE, pod);
  await eventually(holds(pod), bounded);
  const epoch = await redis.hget(keys.worker(pod), 'epoch');
  await kubelet(pod, { restartCount: 1, state: { running: {} }, lastState: ended(3, 'Error') });
  await eventually(async () => expect(await redis.get(keys.fate(pod))).toBe('Error (exit code 3)'), bounded);
  await throughout(500, async () => expect(await redis.hget(keys.worker(pod), 'epoch')).toBe(epoch));
});

describe('where connections cannot be listed', () => {
  const url = (): Json => ({ url: world.redis.url.replace('://', '://blind:secret@') });

  test('a container whose end was observed counts as dead', async () => {
    await createPool({ redis: url() });
    const pod = await createPod();
    await using worker = await busyWorker(pod);
    await die(worker);
    await kubelet(pod, { state: ended(1, 'Error', new Date(Date.now() + 5_000)) });
    await isBack(1);
    // a move of it may still be blocked
    expect(await redis.zscore(keys.workers, pod)).not.toBeNull();
  });

  test.each([
    ['a pod that is only gone is not', removePod],
    [
      'an end that may be of an earlier life is not',
      (pod: string) => kubelet(pod, { state: ended(1, 'Error') }),
    ],
  ])('%s', async (_, strike) => {
    await createPool({ redis: url() });
    const pod = await createPod();
    await using worker = await busyWorker(pod);
    await die(worker);
    await strike(pod);
    await throughout(1_500, holds(pod));
    await reap(redis, keys, pod, 'any', 'displaced', 0);
  });
});

test('pods of a Deployment that a pool adopts, for any names of their workers', async () => {
  const labels = { app: 'theirs' };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'theirs:1' }] } };
  await world.objects.create(DEPLOYMENTS, ref.namespace, {
    metadata: { name: 'theirs' },
    spec: { replicas: 1, selector: { matchLabels: labels }, template },
  });
  await createPool({ template: undefined, scaleTargetRef: { name: 'theirs' } });
  const pod = await createPod(labels);
  await using worker = await busyWorker(`${pod}-7`);
  // the pods of workers are watched once there are any
  const watching = async (): Promise<void> =>
    expect((await controller.get('/metrics')).body).toMatch(
      /millrace_watch_restarts\{resource="adopted_pods"\}/,
    );
  await eventually(watching, bounded);
  await die(worker);
  await kubelet(pod, { ready: false, state: ended(137, 'OOMKilled') });
  await isBack(1);
  await isTold(
    `Warning WorkerRecovered ${pod}-7 ended: OOMKilled (exit code 137). The task that it held is back in the queue.`,
  );
});

test('a task that was given up is reported once, and as long as it is a dead letter', async () => {
  await createPool();
  const pod = async () => await world.objects.get(POOLS, ref);
  await eventually(
    async () => expect(conditionText(await pod(), 'PoisonTasks')).toMatch(/^False None/),
    bounded,
  );
  const lost = await startHandWorker(redis, keys);
  await redis.set(keys.fate(lost.id), 'OOMKilled (exit code 137)');
  await redis.lpush(keys.queue, '{"id":"poison"}');
  await lost.turn({ want: 1 });
  await reap(redis, keys, lost.id, lost.epoch, 'lost', 0);
  const retry = { attempts: 3, maxDeliveries: 1, backoff: { initialMs: 1, maxMs: 1, jitter: false } };
  {
    await using _worker = startWorker(world.redis, keys, { handler: () => '', retry });
    const words =
      `Task "poison" is a dead letter: delivered once, and its worker was lost; ` +
      `the last one, ${lost.id}: OOMKilled (exit code 137).`;
    await eventually(
      async () => expect(conditionText(await pod(), 'PoisonTasks')).toBe(`True WorkersLost ${words}`),
      bounded,
    );
    await isTold(`Warning TaskGivenUp ${words}`);
    await eventually(async () => expect((await pod()).status?.dead).toBe(1), bounded);
  }
  await redis.del(keys.dead);
  await redis.lpush(keys.queue, 'another look');
  await eventually(async () => expect(conditionText(await pod(), 'PoisonTasks')).toMatch(/^False/), bounded);
});
