/** The grace period of a pool's pods follows observed service times, and is changed only when that interrupts no task. */
import { beforeEach, expect, test } from 'vitest';
import { DEPLOYMENTS, EVENTS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { slowBucket } from '../../queue/pool/slow-tasks.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { done, startHandWorker } from '../support/turns.ts';
import { poolManifest, type Json } from '../support/world.ts';
import { useStage } from '../support/stage.ts';

const stage = useStage({ deployments: true });

const bounded = { everyMs: 20 };

let ref: ObjectRef;
let keys: QueueKeys;

beforeEach(async () => {
  ref = { namespace: await stage.world.namespace(), name: 'tiles' };
  keys = queueKeys(ref.namespace, 'tiles:result');
});

const container = { name: 'worker', image: 'worker:1' };

async function createPool(pod: Json = {}): Promise<void> {
  const template = { spec: { containers: [container], ...pod } };
  const spec = { queue: ref.namespace, template, minReplicas: 2 };
  await stage.world.objects.create(POOLS, ref.namespace, poolManifest(ref.name, stage.world.redis, spec));
}

/** A worker settles 200 tasks that took `ms` each and keeps one. */
async function work(ms: number): Promise<() => Promise<unknown>> {
  await stage.redis.lpush(keys.queue, ...Array.from({ length: 201 }, (_, i) => `task ${i}`));
  const worker = await startHandWorker(stage.redis, keys);
  const { tasks } = await worker.turn({ want: 201 });
  const [last, ...rest] = tasks;
  const slow = rest.map(() => slowBucket(ms));
  const results = rest.map((task) => done(task));
  await worker.turn({ settled: { results, serviceUs: ms * 1_000 * rest.length, slow } });
  return () => worker.turn({ settled: { results: last ? [done(last)] : [] } });
}

/** The grace period of the pods, s, and what their workers make of it. */
async function grace(): Promise<[number | undefined, string | undefined]> {
  const pod = (await stage.world.objects.get(DEPLOYMENTS, ref)).spec?.template.spec;
  const env = pod?.containers[0]?.env?.find(({ name }) => name === 'MILLRACE_GRACE');
  return [pod?.terminationGracePeriodSeconds, env?.value];
}
const graceIs = (seconds: number): Promise<void> =>
  eventually(async () => expect(await grace()).toEqual([seconds, `${seconds - 3}s`]), bounded);
const events = async (reason: string): Promise<string[]> =>
  (await stage.world.objects.list(EVENTS, ref.namespace))
    .filter((event) => event.reason === reason)
    .map(({ note = '' }) => note);

test('is 30 s at first, and grows once nothing is in flight', async () => {
  await createPool();
  await graceIs(30);
  const finish = await work(60_000);
  await eventually(
    async () =>
      expect(await events('GracePeriodShort')).toEqual([
        expect.stringMatching(
          /^Tasks take longer than the 30 s .* They get 1\d\d s once nothing is in flight/,
        ),
      ]),
    bounded,
  );
  await throughout(1_500, async () => expect(await grace()).toEqual([30, '27s']));
  await finish();
  await graceIs(117); // one and a half of the upper end of its bucket, and 10 s
  // an event is written after what it tells of
  await eventually(
    async () =>
      expect(await events('GracePeriodChanged')).toEqual([
        'Pods get 117 s to terminate instead of 30 s, by recent service times.',
      ]),
    bounded,
  );
});

test('grows also while tasks run when the template changes anyway', async () => {
  await createPool();
  await graceIs(30);
  await work(60_000);
  await eventually(async () => expect(await events('GracePeriodShort')).toHaveLength(1), bounded);
  const template = { spec: { containers: [{ ...container, image: 'worker:2' }] } };
  await stage.world.objects.patch<WorkerPool>(POOLS, ref, { spec: { template } });
  await graceIs(117);
});

test("is the user's where there is one", async () => {
  await createPool({ terminationGracePeriodSeconds: 12 });
  await graceIs(12);
  const finish = await work(60_000);
  await finish();
  await eventually(
    async () => expect((await stage.world.objects.get(POOLS, ref)).status?.inFlight).toBe(0),
    bounded,
  );
  await throughout(1_500, async () => expect(await grace()).toEqual([12, '9s']));
});
