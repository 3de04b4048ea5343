/**
 * A status that the API server refuses: the pool is scaled all the same, an event says once what is refused, and the status is
 * written again when the pool has changed. Before Kubernetes 1.33 that happens to a pool whose spec breaks a rule that is newer than the
 * pool (crd-upgrade.test.ts); here a rule about the status itself does it, in every version.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { DEPLOYMENTS, EVENTS, POOLS } from '../../kube/resources.ts';
import { startController } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { playDeployments, poolManifest, startWorld, type Json, type World } from '../support/world.ts';

const soon = { everyMs: 20 };
const REFUSAL = 'no more than one replica may be desired';
interface Definition {
  spec: { versions: { schema: { openAPIV3Schema: { properties: { status: Json } } } }[] };
}

/** The definition, with these rules about a pool's status. */
async function define({ server }: World, rules: Json[]): Promise<void> {
  const file = join(import.meta.dirname, '../../charts/millrace/files/workerpools.yaml');
  const { spec } = parse(readFileSync(file, 'utf8')) as Definition;
  const status = spec.versions[0]?.schema.openAPIV3Schema.properties.status;
  Object.assign(status ?? {}, { 'x-kubernetes-validations': rules });
  const change = JSON.stringify({ spec: { versions: spec.versions } });
  await server.kubectl(['patch', 'crd', 'workerpools.millrace.dev', '--type', 'merge', '--patch', change]);
}

test('a pool whose status is refused is scaled; an event names the rule, once', async () => {
  await using world = await startWorld();
  const { objects } = world;
  const redis = world.redis.client();
  const namespace = await world.namespace();
  const playing = new AbortController();
  await playDeployments(world.transport, playing.signal);
  await define(world, [{ rule: '!has(self.desiredReplicas) || self.desiredReplicas < 2', message: REFUSAL }]);
  // a rule is in force some time after it is stored
  const probe = { namespace, name: 'probe' };
  await objects.create(POOLS, namespace, poolManifest('probe', world.redis, { mode: 'Paused' }));
  await eventually(
    () =>
      expect(objects.patch(POOLS, probe, { status: { desiredReplicas: 2 } }, 'status')).rejects.toThrow(
        REFUSAL,
      ),
    soon,
  );

  const ref = { namespace, name: 'tiles' };
  const scaling = { tasksPerReplica: 1, scaleDown: { window: '1s' } };
  await objects.create(POOLS, namespace, poolManifest('tiles', world.redis, { scaling, maxReplicas: 9 }));
  await using controller = await startController({
    kubeconfig: world.server.kubeconfig,
    args: ['--namespace', namespace],
  });
  const scaledTo = (count: number): Promise<void> =>
    eventually(async () => expect((await objects.get(DEPLOYMENTS, ref)).spec?.replicas).toBe(count), soon);
  const desired = async (): Promise<number | undefined> =>
    (await objects.get(POOLS, ref)).status?.desiredReplicas;
  const notes = async (reason: string): Promise<string[]> =>
    (await objects.list(EVENTS, namespace))
      .filter((event) => event.reason === reason && event.regarding?.name === 'tiles')
      .map(({ note = '' }) => note);

  await redis.lpush('tiles', 'a');
  await scaledTo(1);
  await eventually(async () => expect(await desired()).toBe(1), soon);
  for (const count of [3, 5]) {
    await redis.lpush('tiles', 'b', 'c');
    await scaledTo(count);
  }
  await redis.del('tiles');
  await scaledTo(0);
  await eventually(async () => {
    expect(await notes('ScaledDown')).toHaveLength(1);
    expect(await notes('ScaledUp')).toHaveLength(3);
    expect(await notes('StatusRefused')).toEqual([expect.stringContaining(REFUSAL)]);
  }, soon);
  expect(controller.log().filter(({ msg }) => msg.startsWith('reconcile failed'))).toEqual([]);

  // a change of the pool is a reason to try again
  await redis.lpush('tiles', 'a', 'b', 'c');
  await scaledTo(3);
  await define(world, []);
  await eventually(() => objects.patch(POOLS, probe, { status: { desiredReplicas: 2 } }, 'status'), soon);
  await objects.patch(POOLS, ref, { spec: { maxReplicas: 8 } });
  await eventually(async () => expect(await desired()).toBe(3), soon);
  playing.abort();
});
