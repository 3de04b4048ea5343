/** Controllers and workers that die while there is work: every task has its result in the end, and the pool sleeps again. */
import { describe, expect, inject, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { signalContainer } from '../support/kind-node.ts';
import { nothingLeft, poolOf, type Pool } from '../support/kind-pool.ts';
import { SYSTEM, useRelease } from '../support/kind-release.ts';
import { behind, squares, squaresTemplate } from '../support/squares.ts';

const place = inject('cluster');
const soon = { withinMs: 30_000, everyMs: 100 };

describe.skipIf(!place)('with two controllers', () => {
  const release = useRelease(place, {
    values: () => ({ replicas: 2, redis: { enabled: true, auth: false } }),
  });
  const leaseHolder = async (): Promise<string> => {
    const holder = ['--output', 'jsonpath={.spec.holderIdentity}'];
    return release().cluster.kubectl(['get', 'lease', 'millrace', '-n', SYSTEM, ...holder]);
  };
  const spec = {
    template: squaresTemplate(),
    concurrency: 2,
    maxReplicas: 4,
    scaling: { tasksPerReplica: 10, scaleDown: { window: '3s' } },
  };
  const busy = (pool: Pool): Promise<void> =>
    eventually(async () => expect(await release().redis.hlen(pool.result)).toBeGreaterThan(0), soon);

  test.each([
    [
      'is deleted by force',
      (pod: string) =>
        release().cluster.kubectl(['delete', 'pod', pod, '-n', SYSTEM, '--force', '--grace-period=0']),
    ],
    ['is killed', (pod: string) => signalContainer(release(), { namespace: SYSTEM, pod }, 'KILL')],
  ])('the work goes on when the leader %s while it scales', async (how, strike) => {
    const pool = poolOf(release(), how.replaceAll(' ', '-'));
    await pool.apply(spec);
    await pool.asleep();
    const [leader, holder] = [await release().leader(), await leaseHolder()];
    const first = squares(60, 200, 'first');
    await pool.push(first);
    // no sooner than its decision is made, and while pods are starting
    await eventually(async () => expect(await pool.replicas()).toBeGreaterThan(0), soon);
    await strike(leader);
    const second = squares(100, 200, 'second');
    await pool.push(second);
    await pool.answers([...first, ...second]);
    await pool.asleep();
    // the same pod may lead again when only its process was killed, but never the process
    expect(await leaseHolder()).not.toBe(holder);
    expect(await pool.remains()).toEqual(nothingLeft);
  });

  describe.concurrent('at the same time', () => {
    test('a pod that is deleted while it works finishes, or hands its tasks back', async () => {
      const pool = poolOf(release(), 'graceful');
      await pool.apply(spec);
      const tasks = squares(40, 500);
      await pool.push(tasks);
      await busy(pool);
      const [pod = ''] = await pool.pods();
      await release().cluster.kubectl(['delete', 'pod', pod, '-n', release().namespace, '--wait=false']);
      await pool.answers(tasks);
      expect(await recovered(pool), 'tasks that were lost and run again').toBe(0);
      await pool.asleep();
      expect(await pool.remains()).toEqual(nothingLeft);
    });

    test('a pod that is deleted by force loses nothing', async () => {
      const pool = poolOf(release(), 'forced');
      await pool.apply(spec);
      const tasks = squares(40, 500);
      await pool.push(tasks);
      await busy(pool);
      const [pod = ''] = await pool.pods();
      const gone = ['delete', 'pod', pod, '-n', release().namespace, '--force', '--grace-period=0'];
      await release().cluster.kubectl(gone);
      await pool.answers(tasks);
      await pool.asleep();
      await eventually(async () => expect(await pool.remains()).toEqual(nothingLeft), soon);
    });

    test('a worker that crashes takes its own tasks back when it starts again', async () => {
      const pool = poolOf(release(), 'crashed');
      // its lease does not end before the test does
      const template = squaresTemplate({ args: ['--module', '/app/squares.ts', '--lease', '1h'] });
      await pool.apply({ ...spec, template, maxReplicas: 1 });
      const gate = pool.gate();
      const tasks = behind(gate, squares(2, 0));
      await pool.push(tasks);
      await eventually(async () => expect(await holding(pool)).toEqual(['2']), soon);
      const [pod = ''] = await pool.pods();
      await signalContainer(release(), { namespace: release().namespace, pod }, 'KILL');
      await gate.open();
      await pool.answers(tasks);
      expect(await recovered(pool)).toBe(2);
      await pool.asleep();
      await eventually(async () => expect(await pool.remains()).toEqual(nothingLeft), soon);
    });

    test('a worker that hangs is not waited for, and writes nothing when it comes to again', async () => {
      const pool = poolOf(release(), 'frozen');
      const { namespace, redis } = release();
      await pool.apply({ ...spec, maxReplicas: 1 });
      const gate = pool.gate();
      const tasks = behind(gate, squares(2, 0));
      await pool.push(tasks);
      await eventually(async () => expect(await holding(pool)).toEqual(['2']), soon);
      const [pod = ''] = await pool.pods();
      await signalContainer(release(), { namespace, pod }, 'STOP');
      // its lease ends after 15 s; then its tasks are in the list again
      await eventually(async () => expect(await redis.llen(pool.queue)).toBe(2), soon);
      await gate.open();
      await signalContainer(release(), { namespace, pod }, 'CONT');
      const answers = await pool.answers(tasks);
      expect(answers.map((answer) => answer.pod)).toEqual([pod, pod]);
      expect(await recovered(pool)).toBe(2);
      await pool.asleep();
      await eventually(async () => expect(await pool.remains()).toEqual(nothingLeft), soon);
    });
  });

  /** Of Redis itself: a status may be two seconds old. */
  const holding = (pool: Pool): Promise<string[]> => release().redis.hvals(`millrace:{${pool.queue}}:load`);

  const recovered = async (pool: Pool): Promise<number> =>
    Number(await release().redis.hget(`millrace:{${pool.queue}}:stats`, 'recovered'));
});
