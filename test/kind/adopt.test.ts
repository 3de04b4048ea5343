/** A Deployment that is there already, with workers in another language, under a controller that sees one namespace only. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { PYTHON_IMAGE } from '../support/kind-images.ts';
import { poolOf } from '../support/kind-pool.ts';
import { SYSTEM, useRelease, type Release } from '../support/kind-release.ts';
import { watch } from '../support/kind-watch.ts';

const place = inject('cluster');
const program = readFileSync(join(import.meta.dirname, '../fixtures/plain-worker.py'), 'utf8');

interface Deployment {
  readonly metadata: { readonly name: string; readonly managedFields?: object; readonly uid: string };
  readonly spec: { readonly replicas: number };
}

function plainDeployment({ namespace }: Release, name: string, replicas = 1): string {
  const labels = { app: name };
  const env = [
    { name: 'REDIS_HOST', value: `millrace-redis.${SYSTEM}` },
    { name: 'QUEUE', value: `${name}:queue` },
    { name: 'RESULT', value: `${name}:result` },
  ];
  const container = { name: 'worker', image: PYTHON_IMAGE, command: ['python3', '-uc', program], env };
  return JSON.stringify({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace, labels: { team: 'images' }, annotations: { 'example.com/owner': 'ada' } },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { terminationGracePeriodSeconds: 10, containers: [container] },
      },
    },
  });
}

/** All that is not the controller's to change, nor the cluster's own book-keeping. */
function unchanging({ metadata, spec }: Deployment): object {
  const { managedFields: _, ...kept } = metadata;
  const { generation: _g, resourceVersion: _v, ...stable } = kept as Record<string, unknown>;
  return { metadata: stable, spec: { ...spec, replicas: 'any' } };
}

describe.skipIf(!place).concurrent('an adopted Deployment', () => {
  const release = useRelease(place, {
    values: (namespace) => ({ watch: { namespaces: [namespace] }, redis: { enabled: true, auth: false } }),
  });
  const deployment = (name: string): Promise<Deployment> => release().get<Deployment>('deployment', name);

  test('is scaled up and down, and nothing else of it is changed', async () => {
    const { cluster, redis, namespace } = release();
    const pool = poolOf(release(), 'reverse');
    await cluster.applyYaml(plainDeployment(release(), pool.name));
    // Kubernetes' own controller numbers the revision some time after the Deployment was made
    const before = await eventually(
      async () => {
        const made = await deployment(pool.name);
        expect(made).toHaveProperty(['metadata', 'annotations', 'deployment.kubernetes.io/revision']);
        return made;
      },
      { everyMs: 100 },
    );
    await pool.apply({
      scaleTargetRef: { name: pool.name },
      maxReplicas: 3,
      scaling: { tasksPerReplica: 50, scaleDown: { window: '3s' } },
    });
    await eventually(async () => expect(await pool.replicas()).toBe(0), { everyMs: 200 });
    // a pod that is on its way out may still take tasks
    await cluster.kubectl([
      'wait',
      'pod',
      '-l',
      'app=reverse',
      '-n',
      namespace,
      '--for=delete',
      '--timeout=500s',
    ]);
    using replicas = await watch(release(), ['deployment', pool.name], '{.spec.replicas}');

    const tasks = Array.from({ length: 200 }, (_, i) => `task ${i}`);
    await redis.lpush(pool.queue, ...tasks);
    const expected = Object.fromEntries(tasks.map((task) => [task, task.split('').toReversed().join('')]));
    await eventually(async () => expect(await redis.hgetall(pool.result)).toEqual(expected), {
      withinMs: 60_000,
      everyMs: 200,
    });
    await eventually(async () => expect(await pool.replicas()).toBe(0), { everyMs: 200 });

    // 200 tasks at 50 a replica ask for 4: maxReplicas holds it at 3
    const scaledUp = 'ScaledUp 0→3: 200 waiting, 0 in flight, 50 tasks a replica, maxReplicas 3';
    await eventually(
      async () => {
        expect(replicas.seen.map(({ value }) => value).slice(0, 2)).toEqual(['0', '3']);
        expect(await pool.events()).toContain(scaledUp);
      },
      { everyMs: 200 },
    );
    expect(unchanging(await deployment(pool.name))).toEqual(unchanging(before));
  });

  test('stays, as it is, when its pool is deleted', async () => {
    const { cluster, redis, namespace } = release();
    const pool = poolOf(release(), 'kept');
    await cluster.applyYaml(plainDeployment(release(), pool.name, 0));
    // once it is up, it stays up
    await pool.apply({ scaleTargetRef: { name: pool.name }, scaling: { scaleDown: { window: '1h' } } });
    await redis.lpush(pool.queue, 'last one');
    await eventually(async () => expect(await pool.replicas()).toBe(1), { everyMs: 100 });
    const before = await deployment(pool.name);
    await cluster.kubectl(['delete', 'workerpool', pool.name, '-n', namespace, '--timeout', '500s']);
    const after = await deployment(pool.name);
    expect(unchanging(after)).toEqual(unchanging(before));
    expect(after.spec.replicas).toBe(1);
    expect(after.metadata.uid).toBe(before.metadata.uid);
  });

  test('that is not there is missed by name, and taken on when it comes', async () => {
    const { cluster } = release();
    const pool = poolOf(release(), 'late');
    await pool.apply({ scaleTargetRef: { name: pool.name } });
    const missed = `Deployment "late" does not exist in namespace "${release().namespace}": create it, or correct scaleTargetRef.name.`;
    await eventually(
      async () => expect(await pool.condition('Ready')).toBe(`Ready=False NoTarget: ${missed}`),
      {
        everyMs: 200,
      },
    );
    await cluster.applyYaml(plainDeployment(release(), pool.name));
    await eventually(async () => expect(await pool.condition('Ready')).toMatch(/^Ready=True/), {
      everyMs: 200,
    });
  });

  test('needs no right outside of the watched namespace', async () => {
    const { cluster, namespace } = release();
    const as = `--as=system:serviceaccount:${SYSTEM}:millrace`;
    const can = (where: string): Promise<string> =>
      cluster.kubectl(['auth', 'can-i', 'patch', 'deployments/scale', '-n', where, as]).catch(String);
    expect(await can(namespace)).toMatch(/^yes/);
    expect(await can('default')).toContain('no');
  });
});
