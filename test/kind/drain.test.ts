/**
 * Pods that go while there is work, by scale-in, by a rollout and by a drained node: every run of a handler that was begun is
 * ended, none is begun twice, and a scale-in that is called off restarts nothing.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { PYTHON_IMAGE } from '../support/kind-images.ts';
import { nothingLeft, poolOf, type Pool } from '../support/kind-pool.ts';
import { SYSTEM, useRelease } from '../support/kind-release.ts';
import { behind, squares, squaresTemplate, type Task } from '../support/squares.ts';

const place = inject('cluster');
const soon = { everyMs: 100 };
/** A pod that is asked to end waits for its tasks, and they for the pod that comes in its place. */
const patient = { terminationGracePeriodSeconds: 300 };

describe.skipIf(!place)('pods that go', () => {
  const release = useRelease(place, { values: () => ({ redis: { enabled: true, auth: false } }) });

  const ledgerOf = (pool: Pool): string => `${pool.name}:ledger`;
  const template = (pool: Pool, more: object[] = [], pod: object = {}): object => {
    const ledger = { name: 'LEDGER', value: `millrace-redis.${SYSTEM}:6379/${ledgerOf(pool)}` };
    return squaresTemplate({ env: [ledger, ...more] }, pod);
  };
  const noted = (pool: Pool): Promise<string[]> => release().redis.lrange(ledgerOf(pool), 0, -1);
  const begun = async (pool: Pool): Promise<number> =>
    (await noted(pool)).filter((line) => line.startsWith('begin')).length;

  /** Each task was begun once and ended once, in one pod. */
  async function expectEachOnce(pool: Pool, tasks: readonly Task[]): Promise<void> {
    const lines = await noted(pool);
    const pods = new Map(lines.map((line) => line.split(' ')).map(([, id = '', pod = '']) => [id, pod]));
    const expected = tasks.flatMap(({ id }) => [`begin ${id} ${pods.get(id)}`, `end ${id} ${pods.get(id)}`]);
    expect(lines.toSorted()).toEqual(expected.toSorted());
  }

  const scaling = (tasksPerReplica: number): object => ({
    tasksPerReplica,
    scaleDown: { window: '1s' },
  });
  const draining = (pool: Pool, count: number): Promise<void> =>
    eventually(
      async () => expect((await pool.get()).status?.lastDecision).toMatch(new RegExp(`; ${count} draining$`)),
      soon,
    );

  /** Pods that were asked to end. */
  const leaving = async (pool: Pool): Promise<string[]> => {
    const { items } = await release().get<{
      items: { metadata: { name: string; deletionTimestamp?: string } }[];
    }>('pods', '--selector', pool.label);
    return items.filter(({ metadata }) => metadata.deletionTimestamp).map(({ metadata }) => metadata.name);
  };

  describe.concurrent('by scale-in', () => {
    test('under load: none that works', async () => {
      const pool = poolOf(release(), 'shrinks');
      await pool.apply({ template: template(pool), maxReplicas: 4, scaling: scaling(5) });
      // a few long ones among many short ones: pods become superfluous while they work
      const tasks = [...squares(36, 250, 'short'), ...squares(8, 5_000, 'long')];
      await pool.push(tasks.toSorted((a, b) => (a.n % 7) - (b.n % 7)));
      await pool.answers(tasks);
      await pool.asleep();
      await expectEachOnce(pool, tasks);
      expect(await pool.remains()).toEqual(nothingLeft);
      await eventually(async () => {
        const down = (await pool.events()).filter((event) => event.startsWith('ScaledDown'));
        expect(
          down.some((event) => /, [1-9]\d* in flight, .*drained/.test(event)),
          down.join('\n'),
        ).toBe(true);
      }, soon);
    });

    test('not at all, when work comes back before they have: none is restarted', async () => {
      const pool = poolOf(release(), 'returns');
      const spec = { template: template(pool), maxReplicas: 4 };
      await pool.apply({ ...spec, scaling: scaling(1) });
      const gate = pool.gate();
      const long = behind(gate, squares(4, 0, 'long'));
      await pool.push(long);
      await eventually(async () => expect(await begun(pool)).toBe(4), soon);
      const before = await pool.pods();
      await pool.apply({ ...spec, scaling: scaling(4) });
      await draining(pool, 3);
      const more = squares(40, 100, 'more');
      await pool.push(more);
      await eventually(
        async () =>
          expect((await pool.get()).status?.lastDecision).toMatch(/ [1-9]\d* waiting,(?!.*draining)/),
        soon,
      );
      await gate.open();
      const pods = (await pool.answers([...long, ...more])).map(({ pod }) => pod);
      expect(new Set(pods)).toEqual(new Set(before));
      // those that were to go have worked again
      expect(new Set(pods.slice(long.length)).size).toBeGreaterThan(1);
      await pool.asleep();
      await expectEachOnce(pool, [...long, ...more]);
    });
  });

  describe.concurrent('for another reason', () => {
    test('by a rollout under load: each finishes first', async () => {
      const pool = poolOf(release(), 'rolls');
      const spec = (name: string): object => ({
        template: template(pool, [{ name: 'RELEASE', value: name }], patient),
        minReplicas: 2,
        maxReplicas: 2,
      });
      await pool.apply(spec('one'));
      const gate = pool.gate();
      const tasks = behind(gate, squares(16, 0));
      await pool.push(tasks);
      await eventually(async () => expect(await begun(pool)).toBe(2), soon);
      const before = await pool.pods();
      await pool.apply(spec('two'));
      await eventually(async () => {
        expect((await leaving(pool)).some((pod) => before.includes(pod))).toBe(true);
        expect(await begun(pool)).toBeGreaterThan(2);
      }, soon);
      await gate.open();
      const answers = await pool.answers(tasks);
      expect(new Set(answers.map((answer) => answer.release))).toEqual(new Set(['one', 'two']));
      await expectEachOnce(pool, tasks);
    });

    test('by eviction, as from a node that is drained: each finishes first', async () => {
      const pool = poolOf(release(), 'evicted');
      await pool.apply({ template: template(pool, [], patient), minReplicas: 1, maxReplicas: 1 });
      const gate = pool.gate();
      const tasks = behind(gate, squares(4, 0));
      await pool.push(tasks);
      await eventually(async () => expect(await begun(pool)).toBe(1), soon);
      const { namespace, cluster } = release();
      const [name = ''] = await pool.pods();
      const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } };
      const path = `/api/v1/namespaces/${namespace}/pods/${name}/eviction`;
      await cluster.kubectl(['create', '--raw', path, '-f', '-'], { input: JSON.stringify(eviction) });
      // by the pod that comes in its place
      await eventually(async () => expect(await begun(pool)).toBe(2), soon);
      await gate.open();
      const pods = (await pool.answers(tasks)).map(({ pod }) => pod);
      expect(new Set(pods).size).toBe(2);
      await expectEachOnce(pool, tasks);
    });
  });

  test('of an adopted Deployment with plain workers: only once nothing waits, with an event', async () => {
    const { cluster, redis, namespace } = release();
    const pool = poolOf(release(), 'plain');
    const labels = { app: pool.name };
    const program = readFileSync(join(import.meta.dirname, '../fixtures/plain-worker.py'), 'utf8');
    const env = [
      { name: 'REDIS_HOST', value: `millrace-redis.${SYSTEM}` },
      { name: 'QUEUE', value: pool.queue },
      { name: 'RESULT', value: pool.result },
    ];
    const container = { name: 'worker', image: PYTHON_IMAGE, command: ['python3', '-uc', program], env };
    const spec = {
      replicas: 3,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [container] } },
    };
    const metadata = { name: pool.name, namespace };
    await cluster.applyYaml(JSON.stringify({ apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec }));
    // pods that are only starting would go at once
    await cluster.kubectl([
      'rollout',
      'status',
      `deployment/${pool.name}`,
      '-n',
      namespace,
      '--timeout=500s',
    ]);
    let pushed = 0;
    /** Keeps some seconds of work waiting: each worker does 20 tasks a second. */
    const keepBusy = async (): Promise<void> => {
      if ((await redis.llen(pool.queue)) > 200) return;
      await redis.lpush(pool.queue, ...Array.from({ length: 200 }, () => `task ${pushed++}`));
    };
    await keepBusy();
    await pool.apply({ scaleTargetRef: { name: pool.name }, maxReplicas: 1, scaling: scaling(1_000) });
    const held = /^ScaleInHeld Scale-in waits: .* and 1 more are ready but not registered in Redis/;
    await eventually(async () => {
      await keepBusy();
      expect(await pool.events()).toContainEqual(expect.stringMatching(held));
    }, soon);
    await keepBusy();
    expect(await pool.replicas()).toBe(3);
    expect(await redis.llen(pool.queue)).toBeGreaterThan(0);
    await eventually(async () => expect(await redis.hlen(pool.result)).toBe(pushed), {
      withinMs: 60_000,
      everyMs: 200,
    });
    await eventually(async () => expect(await pool.replicas()).toBe(0), soon);
    expect((await pool.events()).filter((event) => event.startsWith('ScaleInHeld'))).toHaveLength(1);
  });
});
