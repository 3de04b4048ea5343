/** Deleting a pool in the middle of its work: nothing of it stays in the cluster, and no task is lost. */
import { describe, expect, inject, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { poolOf, type Pool } from '../support/kind-pool.ts';
import { useRelease } from '../support/kind-release.ts';
import { watch, type Watch } from '../support/kind-watch.ts';
import { squares, squaresTemplate } from '../support/squares.ts';

const place = inject('cluster');
const GRACE_S = 10;
/** Much less than the grace period, and 60 of them are far from done when the pool is seen to work. */
const SHORT_MS = 2_000;

describe.skipIf(!place)('a pool that is deleted while it works', () => {
  const release = useRelease(place, { values: () => ({ redis: { enabled: true, auth: false } }) });

  /** Deletes it and waits. Returns how long that took, ms. */
  async function remove(pool: Pool): Promise<number> {
    const { cluster, namespace } = release();
    const started = performance.now();
    await cluster.kubectl(['delete', 'workerpool', pool.name, '-n', namespace, '--timeout', '500s']);
    return performance.now() - started;
  }

  async function busyPool(name: string, ms: number): Promise<Pool> {
    const pool = poolOf(release(), name);
    await pool.apply({
      template: squaresTemplate({}, { terminationGracePeriodSeconds: GRACE_S }),
      concurrency: 2,
      maxReplicas: 3,
      scaling: { tasksPerReplica: 10 },
    });
    await pool.push(squares(60, ms));
    await eventually(async () => expect((await pool.get()).status?.inFlight).toBe(6), {
      everyMs: 100,
    });
    return pool;
  }

  /** How the containers of a pool's pods ended, and in which pod. */
  const watchEnds = (pool: Pool): Promise<Watch> =>
    watch(
      release(),
      ['pods', '--selector', pool.label],
      '{.status.containerStatuses[*].state.terminated.exitCode} {.metadata.name}',
    );

  const exitCodes = ({ seen }: Watch): string[] => {
    const ended = seen.map(({ value }) => value.split(' ')).filter(([code]) => code !== '');
    return [...new Map(ended.map(([code = '', pod = '']) => [pod, code])).values()];
  };

  test.each([
    ['short tasks, which are finished', SHORT_MS],
    ['tasks longer than the grace period, which go back', 600_000],
  ])('leaves nothing: %s', async (what, ms) => {
    const { cluster, namespace, redis } = release();
    const pool = await busyPool(what.split(' ')[0] ?? '', ms);
    using ends = await watchEnds(pool);
    console.log(`${what}: gone after ${Math.round(await remove(pool))} ms`);
    // whom the kubelet has to kill when the grace period is over ends with 137
    await eventually(() => expect(exitCodes(ends)).toEqual(['0', '0', '0']));

    const left = [
      'get',
      'deployments,replicasets,pods',
      '-n',
      namespace,
      '--selector',
      pool.label,
      '-o',
      'name',
    ];
    expect(await cluster.kubectl(left)).toBe('');
    const [done, waiting] = [await redis.hlen(pool.result), await redis.llen(pool.queue)];
    expect({ all: done + waiting, waiting: waiting > 0, done: done > 0 }).toEqual({
      all: 60,
      waiting: true,
      done: ms === SHORT_MS,
    });
    const { held, load, workers } = await pool.remains();
    expect({ held, load, workers }).toEqual({ held: [], load: [], workers: 0 });
    const back = (await redis.lrange(pool.queue, 0, -1)).map((text): { id: string } => JSON.parse(text));
    expect(new Set([...back.map(({ id }) => id), ...(await redis.hkeys(pool.result))]).size).toBe(60);
  });

  test('and created again continues where it stopped', async () => {
    const pool = await busyPool('again', SHORT_MS);
    await remove(pool);
    await pool.apply({ template: squaresTemplate(), concurrency: 4, scaling: { tasksPerReplica: 20 } });
    await pool.answers(squares(60, SHORT_MS));
  });
});
