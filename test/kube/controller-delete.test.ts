/** The end of a pool: nothing is left behind, and no task is lost with its last worker. */
import { beforeEach, expect, test } from 'vitest';
import { finalize, FINALIZER } from '../../controller/act/finalize.ts';
import { createSampler } from '../../controller/sample/sampler.ts';
import { createKubeApi } from '../../kube/client.ts';
import { DEPLOYMENTS, PODS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { register } from '../../queue/workers/register.ts';
import { turn } from '../../queue/workers/turn.ts';
import { createLog } from '../../runtime/log.ts';
import { metric } from '../support/controller.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { nothing } from '../support/turns.ts';
import { conditionText, poolManifest } from '../support/world.ts';
import { useStage } from '../support/stage.ts';

const stage = useStage();

const bounded = { everyMs: 20 };
/** So long that nothing comes back because a lease is over. */
const LEASE_MS = 600_000;

let ref: ObjectRef;
let keys: QueueKeys;

beforeEach(async () => {
  ref = { namespace: await stage.world.namespace(), name: 'tiles' };
  keys = queueKeys(ref.namespace, `${ref.namespace}:result`);
});

const pool = () => stage.world.objects.get(POOLS, ref);
const gone = (): Promise<void> =>
  eventually(async () => await expect(pool()).rejects.toMatchObject({ notFound: true }), bounded);

async function createPool(): Promise<void> {
  const manifest = poolManifest(ref.name, stage.world.redis, { queue: keys.queue, result: keys.result });
  await stage.world.objects.create(POOLS, ref.namespace, manifest);
  await eventually(async () => expect(conditionText(await pool(), 'Ready')).toMatch(/^True/), bounded);
}

/** A worker that took so many tasks and is never heard of again. */
async function workerWith(tasks: number, worker: string, of: string): Promise<void> {
  const epoch = await register(stage.redis, keys, worker, LEASE_MS, { pool: of });
  if (epoch === undefined) throw new Error(`${worker} could not be registered`);
  const rest = { settled: nothing, want: tasks, leaseMs: LEASE_MS, state: 'busy' };
  const reply = await turn(stage.redis, keys, { worker, epoch, turn: 1, seen: 0, ...rest });
  expect(reply.kind === 'held' && reply.tasks.length).toBe(tasks);
}

/** What the garbage collector does once the pods of a Deployment are gone. */
async function collectDeployment(): Promise<void> {
  await eventually(async () => {
    const { metadata } = await stage.world.objects.get(DEPLOYMENTS, ref);
    expect(metadata.deletionTimestamp).toBeDefined();
    expect(metadata.finalizers).toEqual(['foregroundDeletion']);
  }, bounded);
  await stage.world.objects.patch(DEPLOYMENTS, ref, { metadata: { finalizers: null } });
}

test('first the pods go, then the tasks of the workers return, then the pool', async () => {
  await createPool();
  await stage.redis.lpush(keys.queue, 't1', 't2', 't3', 't4', 't5');
  await workerWith(2, 'tiles-1', `${ref.namespace}/tiles`);
  await workerWith(1, 'other-1', `${ref.namespace}/other`);
  const pod = { namespace: ref.namespace, name: 'tiles-1' };
  const labels = { 'millrace.dev/pool': 'tiles' };
  await stage.world.objects.create(PODS, ref.namespace, {
    metadata: { name: pod.name, labels, finalizers: ['test/kubelet'] },
    spec: { containers: [{ name: 'worker', image: 'worker:1' }] },
  });
  await eventually(async () => expect((await pool()).status?.inFlight).toBe(3), bounded);
  expect((await pool()).metadata.finalizers).toEqual([FINALIZER]);

  await stage.world.objects.remove(POOLS, ref);
  await collectDeployment();
  await stage.world.objects.remove(PODS, pod);
  // the Deployment is gone, but this pod takes its time to end
  await throughout(1_500, async () => {
    expect((await pool()).metadata.finalizers).toEqual([FINALIZER]);
    expect(await stage.redis.llen(keys.queue)).toBe(2);
  });
  await stage.world.objects.patch(PODS, pod, { metadata: { finalizers: null } });
  await gone();
  // in the order in which they would have been taken, and only this pool's
  expect(await stage.redis.lrange(keys.queue, 0, -1)).toEqual(['t5', 't4', 't2', 't1']);
  expect(await stage.redis.hvals(keys.inflight('other-1'))).toEqual(['t3']);
});

test('a pool that is gone is gone from the metrics and from Redis', async () => {
  await createPool();
  const series = `millrace_queue_length{namespace="${ref.namespace}",pool="tiles"}`;
  await stage.redis.lpush(keys.queue, 't1');
  const page = async (): Promise<string> => (await stage.controller.get('/metrics')).body;
  await eventually(async () => expect(metric(await page(), series)).toBe(1), bounded);
  const recorded = [keys.decisions(`${ref.namespace}/tiles`), keys.timeline(`${ref.namespace}/tiles`)];
  const decided = async (): Promise<string> =>
    (await stage.redis.lrange(recorded[0] ?? '', 0, -1)).join('\n');
  await eventually(async () => expect(await decided()).toContain('0→1: 1 waiting'), bounded);
  await eventually(async () => expect(await stage.redis.exists(recorded)).toBe(2));
  await stage.world.objects.remove(POOLS, ref);
  await collectDeployment();
  await gone();
  await eventually(async () => expect(await page()).not.toContain(`namespace="${ref.namespace}"`), bounded);
  expect(await stage.redis.exists(recorded)).toBe(0);
  await eventually(async () => expect(metric(await page(), 'millrace_redis_servers')).toBe(0), bounded);
  // its results and what waits are the user's
  expect(await stage.redis.keys('*')).toContain(keys.queue);
});

test('a Redis that is away holds a deletion up for 30 s and no longer', async () => {
  const address = { url: `redis://127.0.0.1:${await freePort()}` };
  const log = createLog('test', 'silent');
  await using sampler = createSampler({ address, log, onSample: () => {} });
  const manifest = poolManifest(ref.name, address, { queue: keys.queue });
  const metadata = { name: ref.name, finalizers: [FINALIZER] };
  // this one is not the running controller's: it is finalized here, after a time that the test says
  await stage.controller.stop();
  await stage.world.objects.create(POOLS, ref.namespace, { ...manifest, metadata });
  await stage.world.objects.remove(POOLS, ref);
  const deleted = await pool();
  const givenUp: unknown[] = [];
  const finalizeAfter = (waitedMs: number): Promise<number | undefined> =>
    finalize({
      api: createKubeApi(stage.world.transport),
      pool: deleted,
      redis: { sampler, queues: [keys] },
      otherPriorities: [],
      waitedMs,
      signal: new AbortController().signal,
      onReturned: () => {},
      onGivenUp: (error) => givenUp.push(error),
    });
  expect(await finalizeAfter(29_000)).toBe(1_000);
  expect((await pool()).metadata.finalizers).toEqual([FINALIZER]);
  expect(givenUp).toEqual([]);
  expect(await finalizeAfter(30_000)).toBeUndefined();
  expect(givenUp).toHaveLength(1);
  await gone();
});
