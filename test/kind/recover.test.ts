/**
 * A task runs elsewhere when its container dies, with a warm worker waiting: because Kubernetes reports the death, and not because
 * a lease ends. How soon is printed. And a task that eats all memory, again and again.
 */
import { describe, expect, inject, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { signalContainer, watchDeath } from '../support/kind-node.ts';
import { poolOf, type Pool } from '../support/kind-pool.ts';
import { useRelease } from '../support/kind-release.ts';
import { millrace } from '../support/millrace.ts';
import { squares, squaresTemplate, type Task } from '../support/squares.ts';

const place = inject('cluster');
const soon = { withinMs: 40_000, everyMs: 50 };
const ROUNDS = Number(process.env['MILLRACE_RECOVERY_ROUNDS'] ?? 5);

describe.skipIf(!place)('a container that dies', () => {
  const release = useRelease(place, { values: () => ({ redis: { enabled: true, auth: false } }) });
  const limit = { timeout: 60_000 + ROUNDS * 40_000 };
  const deleteByForce = (pod: string): Promise<string> => {
    const { cluster, namespace } = release();
    const force = ['--force', '--grace-period=0', '--wait=false'];
    return cluster.kubectl(['delete', 'pod', pod, '-n', namespace, ...force]);
  };
  const base = (pool: Pool): string => `millrace:{${pool.queue}}`;

  /** Both workers are registered, and wait. */
  const warm = (pool: Pool): Promise<void> =>
    eventually(async () => {
      expect(await pool.remains()).toMatchObject({ workers: 2, waiting: 0, load: ['0', '0'] });
      const states = (await pool.pods()).map((pod) =>
        release().redis.hget(`${base(pool)}:worker:${pod}`, 'state'),
      );
      expect(await Promise.all(states)).toEqual(['idle', 'idle']);
    }, soon);

  /** Which pod holds a task, other than `not`. */
  const holder = (pool: Pool, not?: string): Promise<string> =>
    eventually(async () => {
      const busy = (await pool.holders()).find((pod) => pod !== not);
      if (busy === undefined) throw new Error('nobody holds a task');
      return busy;
    }, soon);

  const kill = (pod: string): Promise<void> =>
    signalContainer(release(), { namespace: release().namespace, pod }, 'KILL');

  test.each([
    { how: 'killed', strike: kill, fate: 'Error \\(exit code 137\\)' },
    { how: 'deleted-by-force', strike: deleteByForce, fate: 'its pod was deleted' },
  ])('its task runs elsewhere soon: $how', limit, async ({ how, strike, fate }) => {
    const pool = poolOf(release(), how);
    await pool.apply({ template: squaresTemplate(), minReplicas: 2, maxReplicas: 2 });
    const rows: number[] = [];
    const dead: string[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      await warm(pool);
      const gate = pool.gate(`${i}`);
      const task: Task = { id: `round-${i}`, n: i, ms: 0, gate: gate.place };
      await pool.push([task]);
      const pod = await holder(pool);
      // the kubelet may not have told of a container that has just begun
      const where = { namespace: release().namespace, pod };
      const death = await eventually(() => watchDeath(release(), where), soon);
      await strike(pod);
      const diedAt = await death();
      await holder(pool, pod);
      await gate.open();
      const [answer] = await pool.answers([task]);
      expect(answer?.pod).not.toBe(pod);
      rows.push((answer?.began ?? 0) - diedAt);
      dead.push(pod);
      // a container that was restarted too often is kept waiting: the next round wants a new pod
      if (how === 'killed') await deleteByForce(pod);
    }
    const sorted = rows.toSorted((a, b) => a - b);
    console.log(
      `${how}: from the container's death to its task running elsewhere, ms: ${sorted.join(' ')} ` +
        `(median ${sorted[Math.floor(ROUNDS / 2)]}, slowest of ${ROUNDS}: ${sorted.at(-1)})`,
    );
    // a task that is back because a lease ended has no such event
    const expected = dead.map((pod) =>
      expect.stringMatching(
        new RegExp(
          `^WorkerRecovered ${pod} ended: ${fate}\\. The task that it held is back in the queue\\.$`,
        ),
      ),
    );
    await eventually(async () => expect(await pool.events()).toEqual(expect.arrayContaining(expected)), soon);
  });

  test('a task that eats all memory is given up, and costs no other task more than one run', async () => {
    const pool = poolOf(release(), 'eater');
    const resources = { limits: { memory: '192Mi' }, requests: { memory: '96Mi' } };
    await pool.apply({
      template: squaresTemplate({ resources }),
      concurrency: 2,
      minReplicas: 2,
      maxReplicas: 2,
      retry: { maxDeliveries: 2 },
    });
    await warm(pool);
    const healthy = squares(30, 300);
    const eater: Task = { id: 'eater', n: 0, ms: 20, eats: true };
    await pool.push([...healthy.slice(0, 3), eater, ...healthy.slice(3)]);
    await pool.answers(healthy);
    const gaveUp =
      'Task "eater" is a dead letter: delivered 2 times, and each time its worker was lost; ' +
      'the last one, eater-\\S+: OOMKilled \\(exit code 137\\)\\.';
    await eventually(
      async () =>
        expect(await pool.condition('PoisonTasks')).toMatch(
          new RegExp(`PoisonTasks=True WorkersLost: ${gaveUp}`),
        ),
      { withinMs: 60_000, everyMs: 200 },
    );
    await eventually(async () => {
      expect((await pool.get()).status?.dead).toBe(1);
      expect((await pool.events()).join('\n')).toMatch(new RegExp(`TaskGivenUp ${gaveUp}`));
    }, soon);
    // two workers were lost, each with what it held then: the eater, and once one beside it
    const recovered = Number(await release().redis.hget(`${base(pool)}:stats`, 'recovered'));
    expect(recovered).toBeGreaterThanOrEqual(2);
    expect(recovered).toBeLessThanOrEqual(3);
    const { host = '', port = 0 } = release().redis.options;
    const where = ['--redis', `redis://${host}:${port}`, '--queue', pool.queue, '--result', pool.result];
    const list = await millrace(['dead', 'list', ...where]);
    expect(list.stdout).toMatch(/eater.*delivered 2 times.*OOMKilled \(exit code 137\)/);
  });
});
