/**
 * The steps of docs/migrate on a real API server, with real workers of each library: a pool watches beside an autoscaler, takes over
 * when that is gone, and leaves the replicas as they are when it goes itself.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AUTOSCALERS, DEPLOYMENTS, POOLS, type ObjectRef } from '../../kube/resources.ts';
import { bullMqCases } from '../sources/bullmq.ts';
import { celeryCases } from '../sources/celery.ts';
import type { Library, LibraryCase } from '../sources/library.ts';
import { rqCase } from '../sources/rq.ts';
import { eventually } from '../support/eventually.ts';
import { playReplicaSet } from '../support/replicaset.ts';
import { useStage } from '../support/stage.ts';
import { conditionText, poolManifest, type Json } from '../support/world.ts';

const bounded = { withinMs: 60_000, everyMs: 20 };
const stage = useStage();
const labels = { app: 'mail-workers' };

let theirs: ObjectRef;
let ref: ObjectRef;
let hpa: ObjectRef;
let opened = new AsyncDisposableStack();
beforeEach(async () => {
  const namespace = await stage.world.namespace();
  theirs = { namespace, name: 'mail-workers' };
  ref = { namespace, name: 'mail' };
  hpa = { namespace, name: 'keda-hpa-mail' };
});
afterEach(async () => {
  await opened.disposeAsync();
  opened = new AsyncDisposableStack();
});

async function createTheirs(replicas: number): Promise<void> {
  const template = { metadata: { labels }, spec: { containers: [{ name: 'worker', image: 'theirs:1' }] } };
  await stage.world.objects.create(DEPLOYMENTS, theirs.namespace, {
    metadata: { name: theirs.name },
    spec: { replicas, selector: { matchLabels: labels }, template },
  });
  const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: theirs.name };
  await stage.world.objects.create(AUTOSCALERS, hpa.namespace, {
    metadata: { name: hpa.name, labels: { 'scaledobject.keda.sh/name': 'mail' } },
    spec: { scaleTargetRef, maxReplicas: 9 },
  });
}

/** A worker of the library in each of the pods that are there now. Resolves when all take tasks. */
async function workIn(library: Library, pods: number): Promise<void> {
  const play = await playReplicaSet({ transport: stage.world.transport, deployment: theirs });
  opened.use(play);
  await eventually(() => expect(play.pods).toHaveLength(pods), bounded);
  await Promise.all(play.pods.map((pod) => library.work(pod)));
}

const set = (spec: Json): Promise<unknown> => stage.world.objects.patch(POOLS, ref, { spec });
const replicas = async (): Promise<number | undefined> =>
  (await stage.world.objects.get(DEPLOYMENTS, theirs)).spec?.replicas;
const says = (ready: RegExp, status: object = {}): Promise<void> =>
  eventually(async () => {
    const pool = await stage.world.objects.get(POOLS, ref);
    expect(pool.status).toMatchObject(status);
    expect(conditionText(pool, 'Ready')).toMatch(ready);
  }, bounded);

const libraries: readonly LibraryCase[] = [celeryCases[0], bullMqCases[0], rqCase].filter(
  (one) => one !== undefined,
);

test.for(libraries)('$name: from an autoscaler to a pool and back', async (one) => {
  const library = opened.use(await one.open(stage.world.redis));
  await createTheirs(2);
  await workIn(library, 2);
  await library.push(3);

  // beside the autoscaler
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
  const adopting = { template: undefined, scaleTargetRef: { name: theirs.name } };
  const own = { queue: undefined, result: undefined, source: one.settings, scaling, mode: 'DryRun' };
  const manifest = poolManifest(ref.name, stage.world.redis, { ...own, ...adopting });
  await stage.world.objects.create(POOLS, ref.namespace, manifest);
  await says(/^True DryRun Nothing is scaled: mode is DryRun\. Decision: 2→3/, { desiredReplicas: 3 });
  await set({ mode: 'Active' });
  await says(/^False TargetTaken .* "keda-hpa-mail" of ScaledObject "mail"/);
  expect(await replicas()).toBe(2);

  // in its place
  await stage.world.objects.remove(AUTOSCALERS, hpa);
  await says(/^True/, { desiredReplicas: 3 });
  await eventually(async () => expect(await replicas()).toBe(3), bounded);

  // and back
  await set({ mode: 'DryRun' });
  await says(/^True DryRun/, { desiredReplicas: 3 });
  await library.release(3);
  await says(/^True DryRun .* Decision: 3→0/, { desiredReplicas: 0 });
  await stage.world.objects.remove(POOLS, ref);
  await eventually(
    async () => expect(await stage.world.objects.list(POOLS, ref.namespace)).toEqual([]),
    bounded,
  );
  expect(await replicas()).toBe(3);
});
