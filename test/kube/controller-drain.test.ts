/**
 * Scale-in on a real API server and a real Redis, with real workers named like their pods: workers that hold a task are never
 * stopped, whoever leads, and draining ones resume when they are needed.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DELETION_COST } from '../../kube/api.ts';
import { DEPLOYMENTS, EVENTS, PODS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { drainWorkers } from '../../queue/workers/drain.ts';
import { eventually, throughout } from '../support/eventually.ts';
import { playReplicaSet, type ReplicaSetPlay } from '../support/replicaset.ts';
import { useStage } from '../support/stage.ts';
import { startWorker, type TestWorker } from '../support/workers.ts';
import { poolManifest, type Json } from '../support/world.ts';

const bounded = { everyMs: 20 };

const stage = useStage({ deployments: true });
let ref: ObjectRef;
let keys: QueueKeys;
let replicaSet: ReplicaSetPlay | undefined;

beforeEach(async () => {
  ref = { namespace: await stage.world.namespace(), name: 'tiles' };
  keys = queueKeys(ref.namespace, 'tiles:result');
});
afterEach(async () => {
  for (const { open } of gates.values()) open();
  gates.clear();
  running.clear();
  await replicaSet?.[Symbol.asyncDispose]();
  replicaSet = undefined;
  await Promise.all([...workers.values()].map((worker) => worker[Symbol.asyncDispose]()));
  workers.clear();
  stopped.length = 0;
});

/** By pod. */
const workers = new Map<string, TestWorker>();
/** Task → the pod in which it runs. */
const running = new Map<string, string>();
/** Pods in the order in which they were told to stop, with what ran there at that moment. */
const stopped: { pod: string; tasks: string[] }[] = [];
const gates = new Map<string, { open: () => void; opened: Promise<void> }>();

function gate(task: string): { open: () => void; opened: Promise<void> } {
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  const found = gates.get(task) ?? { open, opened };
  gates.set(task, found);
  return found;
}

function startPodWorker(pod: string): void {
  const handler = async (task: unknown): Promise<string> => {
    running.set(String(task), pod);
    await gate(String(task)).opened;
    running.delete(String(task));
    return 'done';
  };
  workers.set(pod, startWorker(stage.world.redis, keys, { handler, id: pod }));
}

async function stopPodWorker(pod: string): Promise<void> {
  stopped.push({ pod, tasks: [...running].filter(([, of]) => of === pod).map(([task]) => task) });
  await workers.get(pod)?.hurry();
}

async function createPool(spec: Json): Promise<void> {
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  const manifest = poolManifest(ref.name, stage.world.redis, { queue: ref.namespace, scaling, ...spec });
  await stage.world.objects.create(POOLS, ref.namespace, manifest);
}

async function startPods(withWorkers = true): Promise<void> {
  const life = withWorkers ? { onStart: startPodWorker, onStop: stopPodWorker } : {};
  replicaSet = await playReplicaSet({ transport: stage.world.transport, deployment: ref, ...life });
}

const pool = (): Promise<WorkerPool> => stage.world.objects.get(POOLS, ref);
const tasksPerReplica = (count: number): Promise<WorkerPool> =>
  stage.world.objects.patch(POOLS, ref, { spec: { scaling: { tasksPerReplica: count } } });
const push = (...tasks: string[]): Promise<number> => stage.redis.lpush(keys.queue, ...tasks);
const finish = (...tasks: string[]): void => tasks.forEach((task) => gate(task).open());
const replicasAre = (count: number): Promise<void> =>
  eventually(async () => {
    expect((await stage.world.objects.get(DEPLOYMENTS, ref)).spec?.replicas).toBe(count);
    expect(replicaSet?.pods).toHaveLength(count);
  }, bounded);
const run = (...tasks: string[]): Promise<void> =>
  eventually(() => expect([...running.keys()].toSorted()).toEqual(tasks.toSorted()), bounded);
const podOf = (task: string): string => running.get(task) ?? '';
const leaving = async (): Promise<string[]> => (await stage.redis.zrange(keys.leaving, '0', '-1')).toSorted();
const events = async (reason: string): Promise<string[]> =>
  (await stage.world.objects.list(EVENTS, ref.namespace))
    .filter((event) => event.reason === reason)
    .map(({ note = '' }) => note);

test('idle workers go, those that work stay, and each goes when it is done', async () => {
  await startPods();
  await createPool({});
  await push('a', 'b', 'c', 'd');
  await run('a', 'b', 'c', 'd');
  const [last, ...others] = ['b', 'd', 'a'].map(podOf);
  const one = podOf('c');
  finish('c');
  await replicasAre(3);
  expect(stopped).toEqual([{ pod: one, tasks: [] }]);
  finish('d', 'a');
  await replicasAre(1);
  expect(replicaSet?.pods).toEqual([last]);
  expect(
    stopped
      .slice(1)
      .map(({ pod }) => pod)
      .toSorted(),
  ).toEqual(others.toSorted());
  finish('b');
  await replicasAre(0);
  expect(stopped.flatMap(({ tasks }) => tasks)).toEqual([]);
  expect(await stage.redis.hlen(keys.result)).toBe(4);
  await eventually(async () => expect(await leaving()).toEqual([]), bounded);
  await eventually(
    async () =>
      expect(await events('ScaledDown')).toContainEqual(expect.stringMatching(/^1→0: .*; 1 drained$/)),
    bounded,
  );
});

describe('workers that all work while fewer would do', () => {
  /** Four pods with a task each, three of which are to go: those. */
  async function fourForOne(): Promise<string[]> {
    await startPods();
    await createPool({});
    await push('a', 'b', 'c', 'd');
    await run('a', 'b', 'c', 'd');
    await tasksPerReplica(4);
    return eventually(async () => {
      const chosen = await leaving();
      expect(chosen).toHaveLength(3);
      return chosen;
    }, bounded);
  }
  const tasksIn = (pod: string): string[] =>
    [...running].filter(([, of]) => of === pod).map(([task]) => task);

  test('drain, and are removed one by one as they finish; the status shows the progress', async () => {
    const [first = ''] = await fourForOne();
    await eventually(
      async () => expect((await pool()).status?.lastDecision).toMatch(/^4→1: .*; 3 draining$/),
      bounded,
    );
    expect(stopped).toEqual([]);
    finish(...tasksIn(first));
    await replicasAre(3);
    expect(stopped).toEqual([{ pod: first, tasks: [] }]);
    // what draining ones would not take waits for the one that stays
    await push('e');
    await throughout(500, () => expect(running.has('e')).toBe(false));
    finish('a', 'b', 'c', 'd', 'e');
    await replicasAre(0);
    expect(stopped.flatMap((stop) => stop.tasks)).toEqual([]);
    expect(await stage.redis.hlen(keys.result)).toBe(5);
  });

  test('come back as soon as they are needed, without a restart', async () => {
    await fourForOne();
    await push(...Array.from({ length: 12 }, (_, i) => `more ${i}`));
    await eventually(async () => expect(await leaving()).toEqual([]), bounded);
    finish('a', 'b', 'c', 'd');
    await eventually(() => expect(new Set(running.values()).size).toBe(4), bounded);
    expect(stopped).toEqual([]);
    expect([...workers.values()].map(({ epochs }) => epochs)).toEqual([1, 1, 1, 1]);
    expect((await stage.world.objects.get(DEPLOYMENTS, ref)).spec?.replicas).toBe(4);
  });

  test('are the same ones for the next controller', async () => {
    const chosen = await fourForOne();
    await stage.controller.kill();
    // however long the next one takes to start
    await drainWorkers(() => stage.redis, [keys], new Map(chosen.map((id) => [id, 'leave'])), 3_600_000);
    await stage.startController();
    await eventually(
      async () => expect((await pool()).status?.lastDecision).toMatch(/^4→1: .*; 3 draining$/),
      bounded,
    );
    await throughout(1_000, async () => expect(await leaving()).toEqual(chosen));
    const one = chosen[0] ?? '';
    finish(...tasksIn(one));
    await replicasAre(3);
    expect(stopped).toEqual([{ pod: one, tasks: [] }]);
  });
});

test('a pod that is not ready but works is waited for, and nothing goes before it', async () => {
  await startPods();
  await createPool({});
  await push('a', 'b', 'c');
  await run('a', 'b', 'c');
  const pod = podOf('a');
  await replicaSet?.setReady(pod, false);
  finish('b', 'c');
  await eventually(async () => expect(await leaving()).toContain(pod), bounded);
  await throughout(1_000, () => expect(stopped).toEqual([]));
  finish('a');
  await replicasAre(0);
  expect(stopped.flatMap(({ tasks }) => tasks)).toEqual([]);
});

test('what carries the mark of one that goes is exactly what goes', async () => {
  await startPods();
  await createPool({});
  await push('a', 'b', 'c');
  await run('a', 'b', 'c');
  // a controller before this one wanted it gone, and then was needed to keep it
  const spared = podOf('a');
  const mark = { metadata: { annotations: { [DELETION_COST]: String(-(2 ** 31)) } } };
  await stage.world.objects.patch(PODS, { namespace: ref.namespace, name: spared }, mark);
  finish('b', 'c');
  await replicasAre(1);
  expect(replicaSet?.pods).toEqual([spared]);
  const { metadata } = await stage.world.objects.get(PODS, { namespace: ref.namespace, name: spared });
  expect(metadata.annotations?.[DELETION_COST]).toBeUndefined();
});

describe('an adopted Deployment', () => {
  const labels = { app: 'existing' };
  const adopt = async (withWorkers: boolean, scaleDown: Json = {}): Promise<void> => {
    const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'theirs:1' }] } };
    const spec = { replicas: 3, selector: { matchLabels: labels }, template };
    await stage.world.objects.create(DEPLOYMENTS, ref.namespace, { metadata: { name: ref.name }, spec });
    const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s', ...scaleDown } };
    await startPods(withWorkers);
    await eventually(() => expect(replicaSet?.pods).toHaveLength(3), bounded);
    await createPool({ template: undefined, scaleTargetRef: { name: ref.name }, scaling });
  };

  test('with our workers drains as one of our own', async () => {
    await push('a', 'b', 'c');
    await adopt(true);
    await run('a', 'b', 'c');
    const pods = [podOf('a'), podOf('c')];
    finish('b');
    await replicasAre(2);
    expect(replicaSet?.pods.toSorted()).toEqual(pods.toSorted());
    finish('a', 'c');
    await replicasAre(0);
    expect(stopped.flatMap(({ tasks }) => tasks)).toEqual([]);
  });

  test('with plain workers keeps them while tasks wait, reports it once, and then removes them', async () => {
    await push('a');
    await adopt(false);
    const waits =
      /^Scale-in waits: tiles-\d and 1 more are ready but not registered in Redis and cannot drain: held until/;
    await eventually(async () => expect(await events('ScaleInHeld')).toEqual([expect.stringMatching(waits)]));
    await eventually(
      async () => expect((await pool()).status?.lastDecision).toMatch(/^3→1: .* cannot drain: held until/),
      bounded,
    );
    expect(replicaSet?.pods).toHaveLength(3);
    // a plain worker takes it
    await stage.redis.rpop(keys.queue);
    await replicasAre(0);
    expect(await events('ScaleInHeld')).toHaveLength(1);
  });

  test('with plain workers and unmanaged: Always is scaled in even if tasks wait', async () => {
    await push('a');
    await adopt(false, { unmanaged: 'Always' });
    await eventually(async () =>
      expect((await stage.world.objects.get(DEPLOYMENTS, ref)).spec?.replicas).toBe(1),
    );
  });
});
