/**
 * A pool with a source, on a real API server and a real Redis: BullMQ's own workers in its pods, from zero to as many as the jobs
 * need and back, and never a pod that holds one told to stop.
 */
import { Queue, Worker } from 'bullmq';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { eventually } from '../support/eventually.ts';
import { playReplicaSet } from '../support/replicaset.ts';
import { useStage } from '../support/stage.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';

const bounded = { everyMs: 20 };
const stage = useStage({ deployments: true });
let ref: ObjectRef;

beforeEach(async () => {
  ref = { namespace: await stage.world.namespace(), name: 'mail' };
});

interface Mail extends AsyncDisposable {
  readonly queue: Queue;
  /** Job → the pod in which it runs. */
  readonly running: ReadonlyMap<string, string>;
  /** Pods in the order in which they were told to stop, with what ran there at that moment. */
  readonly stopped: readonly { readonly pod: string; readonly jobs: readonly string[] }[];
  readonly pods: readonly string[];
  finish(...jobs: string[]): void;
}

let mail: Mail | undefined;
afterEach(async () => {
  await mail?.[Symbol.asyncDispose]();
  mail = undefined;
});

/** BullMQ's queue of the namespace's name, and a worker in each pod of the pool's Deployment. */
async function openMail(): Promise<Mail> {
  const { host, port } = stage.world.redis;
  const connection = { host, port, maxRetriesPerRequest: null };
  const queue = new Queue(ref.namespace, { connection });
  const workers = new Map<string, Worker>();
  const running = new Map<string, string>();
  const stopped: { pod: string; jobs: string[] }[] = [];
  const gates = new Map<string, PromiseWithResolvers<void>>();
  const gate = (job: string): PromiseWithResolvers<void> => {
    const found = gates.get(job) ?? Promise.withResolvers<void>();
    gates.set(job, found);
    return found;
  };
  const play = await playReplicaSet({
    transport: stage.world.transport,
    deployment: ref,
    onStart: (pod) => {
      const worker = new Worker(
        ref.namespace,
        async ({ name }) => {
          running.set(name, pod);
          await gate(name).promise;
          running.delete(name);
        },
        { connection, name: pod },
      );
      worker.on('error', () => undefined);
      workers.set(pod, worker);
    },
    onStop: async (pod) => {
      stopped.push({ pod, jobs: [...running].filter(([, of]) => of === pod).map(([job]) => job) });
      await workers.get(pod)?.close();
    },
  });
  return {
    queue,
    running,
    stopped,
    pods: play.pods,
    finish: (...jobs) => jobs.forEach((job) => gate(job).resolve()),
    [Symbol.asyncDispose]: async () => {
      for (const { resolve } of gates.values()) resolve();
      await play[Symbol.asyncDispose]();
      await Promise.all([...workers.values()].map((worker) => worker.close(true)));
      await queue.close();
    },
  };
}

async function createPool(spec: Json): Promise<void> {
  const { namespace } = ref;
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  const source = { bullmq: { queues: [namespace] } };
  const own = { queue: undefined, result: undefined, source, scaling };
  const manifest = poolManifest(ref.name, stage.world.redis, { ...own, ...spec });
  await stage.world.objects.create(POOLS, namespace, manifest);
}

const pool = (): Promise<WorkerPool> => stage.world.objects.get(POOLS, ref);
const status = (parts: object): Promise<void> =>
  eventually(async () => expect((await pool()).status).toMatchObject(parts), bounded);
const replicasAre = (count: number): Promise<void> =>
  eventually(async () => {
    expect((await stage.world.objects.get(DEPLOYMENTS, ref)).spec?.replicas).toBe(count);
    expect(mail?.pods).toHaveLength(count);
  }, bounded);
const run = (...jobs: string[]): Promise<void> =>
  eventually(() => expect([...(mail?.running.keys() ?? [])].toSorted()).toEqual(jobs.toSorted()), bounded);

test('from zero to as many as the jobs need, and back without a pod that holds one', async () => {
  mail = await openMail();
  await createPool({});
  const { queue } = mail;
  await queue.waitUntilReady();
  await status({ queue: `bullmq:${ref.namespace}`, wake: 'Tracking', waiting: 0, desiredReplicas: 0 });
  for (const job of ['a', 'b', 'c']) await queue.add(job, {});
  await run('a', 'b', 'c');
  await replicasAre(3);
  await status({ waiting: 0, inFlight: 3, lastCause: 'ScaleUp' });
  const [one, ...others] = ['b', 'a', 'c'].map((job) => mail?.running.get(job) ?? '');
  mail.finish('b');
  await replicasAre(2);
  expect(mail.stopped).toEqual([{ pod: one, jobs: [] }]);
  expect(mail.pods.toSorted()).toEqual(others.toSorted());
  mail.finish('a', 'c');
  await replicasAre(0);
  expect(mail.stopped.flatMap(({ jobs }) => jobs)).toEqual([]);
  // a template of another library's image is given nothing of ours
  const { spec } = await stage.world.objects.get(DEPLOYMENTS, ref);
  expect(spec?.template.spec?.containers[0]?.env ?? []).toEqual([]);

  // nothing but a worker moves a due job, and none is there
  await queue.add('later', {}, { delay: 2_000 });
  await run('later');
  await replicasAre(1);
  mail.finish('later');
  await replicasAre(0);
});

test('a queue that nobody has opened is reported, and read once it is there', async () => {
  await createPool({});
  await eventually(
    async () =>
      expect(conditionText(await pool(), 'Ready')).toMatch(/^False SourceNotFound There is no BullMQ queue/),
    bounded,
  );
  expect(conditionText(await pool(), 'RedisReachable')).toMatch(/^True Answered /);
  expect(conditionText(await pool(), 'SourceReadable')).toMatch(/^False NotFound There is no BullMQ queue/);
  mail = await openMail();
  await mail.queue.add('first', {});
  await run('first');
  await eventually(async () => expect(conditionText(await pool(), 'Ready')).toMatch(/^True/), bounded);
});

test('a pod in which no worker is known is held, with the reason', async () => {
  mail = await openMail();
  const { queue } = mail;
  await queue.waitUntilReady();
  await createPool({ minReplicas: 2 });
  await replicasAre(2);
  // as a worker that cannot name its connection
  await stage.redis.hset(`bull:${ref.namespace}:99`, 'data', '{}');
  await stage.redis.lpush(`bull:${ref.namespace}:active`, '99');
  await stage.redis.set(`bull:${ref.namespace}:99:lock`, 'somebody');
  // what is put into 'active' by hand wakes nobody, and this does
  await queue.add('later', {}, { delay: 3_600_000 });
  await status({ inFlight: 1 });
  await stage.world.objects.patch(POOLS, ref, { spec: { minReplicas: 0 } });
  await eventually(
    async () =>
      expect((await pool()).status?.lastDecision).toMatch(
        /2→1: .*1 not seen idle; a running task names no worker that is known/,
      ),
    bounded,
  );
  expect(mail.pods).toHaveLength(2);
  await stage.redis.del(`bull:${ref.namespace}:active`);
  await replicasAre(0);
});
