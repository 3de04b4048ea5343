/**
 * A pool in a dry run over a Deployment that something else scales, with real workers: it decides and reports, and changes
 * neither the Deployment nor its pods nor the state of the workers in Redis.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DEPLOYMENTS, EVENTS, PODS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { Deployment } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { playReplicaSet, type ReplicaSetPlay } from '../support/replicaset.ts';
import { startWorker, type TestWorker } from '../support/workers.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';
import { useStage } from '../support/stage.ts';

const stage = useStage({ deployments: true });

const bounded = { everyMs: 20 };
const labels = { app: 'existing' };

let ref: ObjectRef;
let keys: QueueKeys;
let replicaSet: ReplicaSetPlay | undefined;
const workers: TestWorker[] = [];
let release: () => void;
let released: Promise<void>;

beforeEach(async () => {
  ref = { namespace: await stage.world.namespace(), name: 'tiles' };
  keys = queueKeys(ref.namespace, 'tiles:result');
  ({ promise: released, resolve: release } = Promise.withResolvers<void>());
});
afterEach(async () => {
  release();
  await replicaSet?.[Symbol.asyncDispose]();
  replicaSet = undefined;
  await Promise.all(workers.splice(0).map((worker) => worker[Symbol.asyncDispose]()));
});

const pool = (): Promise<WorkerPool> => stage.world.objects.get(POOLS, ref);
const deployment = (): Promise<Deployment> => stage.world.objects.get(DEPLOYMENTS, ref);
const replicasAre = (count: number): Promise<void> =>
  eventually(async () => expect((await deployment()).spec?.replicas).toBe(count), bounded);
const says = (desired: number, decision: RegExp): Promise<void> =>
  eventually(async () => {
    const seen = await pool();
    expect(seen.status).toMatchObject({
      desiredReplicas: desired,
      lastDecision: expect.stringMatching(decision),
    });
    expect(conditionText(seen, 'Ready')).toMatch(
      /^True DryRun Nothing is scaled: mode is DryRun\. Decision: 3→/,
    );
  }, bounded);

/** Three replicas that somebody else wanted, and a pool that looks at them. */
async function adopt(spec: Json, server: { url: string } = stage.world.redis): Promise<void> {
  const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'theirs:1' }] } };
  await stage.world.objects.create(DEPLOYMENTS, ref.namespace, {
    metadata: { name: ref.name },
    spec: { replicas: 3, selector: { matchLabels: labels }, template },
  });
  await eventually(async () => expect((await deployment()).status?.readyReplicas).toBe(3), bounded);
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  const adopting = { template: undefined, scaleTargetRef: { name: ref.name }, queue: ref.namespace, scaling };
  await stage.world.objects.create(
    POOLS,
    ref.namespace,
    poolManifest('tiles', server, { ...adopting, ...spec }),
  );
}

test('it reports what it would do, up and down, and touches neither Deployment, pods nor workers', async () => {
  const handler = async (): Promise<string> => released.then(() => 'done');
  replicaSet = await playReplicaSet({
    transport: stage.world.transport,
    deployment: ref,
    onStart: (id) => void workers.push(startWorker(stage.world.redis, keys, { handler, id })),
  });
  await adopt({ mode: 'DryRun' });
  await eventually(async () => expect(await stage.redis.hlen(keys.load)).toBe(3), bounded);
  const untouched = async (): Promise<unknown> => ({
    deployment: await deployment(),
    pods: (await stage.world.objects.list(PODS, ref.namespace)).map(({ metadata, spec }) => [metadata, spec]),
    marks: await stage.redis.exists(keys.leaving, keys.asked),
    draining: (await Promise.all(workers.map(({ id }) => stage.redis.hget(keys.worker(id), 'state')))).filter(
      (state) => state !== 'idle' && state !== 'busy',
    ),
  });
  await says(0, /^3→0: 0 waiting/);
  const before = await untouched();
  expect(before).toMatchObject({ marks: 0, draining: [] });
  await throughout(1_500, async () => expect(await untouched()).toEqual(before));

  // the reason keeps the numbers of the moment at which the decision changed
  await stage.redis.lpush(keys.queue, 'task 1', 'task 2', 'task 3');
  await eventually(async () => expect(await stage.redis.hvals(keys.load)).toEqual(['1', '1', '1']), bounded);
  await stage.redis.lpush(keys.queue, 'task 4', 'task 5');
  await says(5, /^3→5: 2 waiting, 3 in flight/);
  await throughout(1_000, async () => expect(await untouched()).toEqual(before));
  expect((await stage.world.objects.list(EVENTS, ref.namespace)).map(({ reason }) => reason)).not.toContain(
    'ScaledUp',
  );

  await stage.world.objects.patch(POOLS, ref, { spec: { mode: 'Active' } });
  await replicasAre(5);
});

test.each([
  ['DryRun', 6, 3, /^3→6: fallback/],
  ['Active', 6, 6, /^(3→6: fallback|6: held)/],
  ['Active', 2, 3, /^3: held/],
])('Redis is away, mode %s, fallback to %i: %i replicas', async (mode, replicas, left, decision) => {
  await using away = await startRedis();
  await away.kill();
  await adopt({ mode, fallback: { after: '1s', replicas } }, away);
  await replicasAre(left);
  await eventually(async () => expect((await pool()).status?.lastDecision).toMatch(decision), bounded);
  await throughout(2_000, async () => expect((await deployment()).spec?.replicas).toBe(left));
});
