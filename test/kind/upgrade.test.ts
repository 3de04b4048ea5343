/** The life of a release under pools that work: upgraded with other values, uninstalled, installed again. */
import { describe, expect, inject, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { nothingLeft, poolOf } from '../support/kind-pool.ts';
import { SYSTEM, useRelease } from '../support/kind-release.ts';
import { behind, squares, squaresTemplate } from '../support/squares.ts';

const place = inject('cluster');
const soon = { everyMs: 100 };

describe.skipIf(!place)('a release beside the Redis of a team', () => {
  const release = useRelease(place, { values: () => ({ replicas: 2 }), redis: 'own' });
  const spec = {
    template: squaresTemplate(),
    maxReplicas: 3,
    scaling: { tasksPerReplica: 20, scaleDown: { window: '3s' } },
  };

  test('is upgraded with other values while tasks run', async () => {
    const { cluster, redis } = release();
    const pool = poolOf(release(), 'upgraded');
    await pool.apply(spec);
    const first = squares(60, 200, 'first');
    await pool.push(first);
    await eventually(async () => expect(await redis.hlen(pool.result)).toBeGreaterThan(0), soon);
    await release().deploy({
      replicas: 1,
      logLevel: 'debug',
      podAnnotations: { 'example.com/team': 'maps' },
    });
    const second = squares(60, 50, 'second');
    await pool.push(second);
    await pool.answers([...first, ...second]);
    await pool.asleep();
    expect(await pool.remains()).toEqual(nothingLeft);
    const pods = ['get', 'pods', '-n', SYSTEM, '-l', 'app.kubernetes.io/component=controller', '-o'];
    const shown = 'jsonpath={range .items[*]}{.metadata.annotations.example\\.com/team}{end}';
    await eventually(async () => expect(await cluster.kubectl([...pods, shown])).toBe('maps'), soon);
  });

  test('keeps pools and their workers when it is uninstalled, and picks them up when it is back', async () => {
    const { cluster, redis, namespace } = release();
    const pool = poolOf(release(), 'kept');
    await pool.apply({ ...spec, minReplicas: 1 });
    const first = squares(4, 0, 'first');
    await pool.push(first);
    await pool.answers(first);

    await release().uninstall();
    const definition = await cluster.kubectl(['get', 'crd', 'workerpools.millrace.dev', '-o', 'name']);
    expect(definition.trim()).toBe('customresourcedefinition.apiextensions.k8s.io/workerpools.millrace.dev');
    const ours = ['get', 'all,leases,roles,rolebindings,serviceaccounts', '-n', SYSTEM, '-o', 'name'];
    await eventually(
      async () => expect(await cluster.kubectl([...ours, '-l', 'app.kubernetes.io/name=millrace'])).toBe(''),
      soon,
    );
    expect((await pool.get()).metadata.deletionTimestamp).toBeUndefined();
    // what waits without a controller is worked off by the replica that there is
    const gate = pool.gate();
    const second = [...squares(10, 0, 'second'), ...behind(gate, squares(50, 0, 'third'))];
    await pool.push(second);
    await eventually(async () => expect(await redis.hlen(pool.result)).toBe(14), soon);
    expect(await pool.replicas()).toBe(1);

    await release().deploy({ replicas: 2 });
    await eventually(async () => expect(await pool.replicas()).toBeGreaterThan(1), soon);
    await gate.open();
    await pool.answers([...first, ...second]);
    await cluster.kubectl(['delete', 'workerpool', 'kept', '-n', namespace, '--timeout', '500s']);
    expect((await pool.remains())['held']).toEqual([]);
  });
});
