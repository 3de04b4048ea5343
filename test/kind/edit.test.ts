/** A pool that is edited while it works, and invalid pools: what the user is told, and where. */
import { describe, expect, inject, test } from 'vitest';
import { bad, base } from '../kube/pools.ts';
import { eventually } from '../support/eventually.ts';
import { nothingLeft, poolOf } from '../support/kind-pool.ts';
import { useRelease } from '../support/kind-release.ts';
import { behind, squares, squaresTemplate } from '../support/squares.ts';

const place = inject('cluster');
const soon = { everyMs: 200 };

describe.skipIf(!place)('a pool', () => {
  const release = useRelease(place, { values: () => ({ redis: { enabled: true, auth: false } }) });

  describe.concurrent('that is edited', () => {
    test('rolls out a changed template, and loses no task on the way', async () => {
      const pool = poolOf(release(), 'edited');
      const spec = (name: string): object => ({
        template: squaresTemplate({ env: [{ name: 'RELEASE', value: name }] }),
        maxReplicas: 2,
        scaling: { tasksPerReplica: 10, scaleDown: { window: '3s' } },
      });
      await pool.apply(spec('one'));
      const gate = pool.gate();
      const tasks = [...squares(20, 50, 'first'), ...behind(gate, squares(60, 50, 'second'))];
      await pool.push(tasks);
      await eventually(async () => expect(await release().redis.hlen(pool.result)).toBe(20), soon);
      const before = await pool.holders();
      await pool.apply(spec('two'));
      await eventually(async () => {
        const holders = await pool.holders();
        expect(holders.every((pod) => before.includes(pod))).toBe(false);
      }, soon);
      await gate.open();
      const answers = await pool.answers(tasks);
      expect(new Set(answers.map((answer) => answer.release))).toEqual(new Set(['one', 'two']));
      await pool.asleep();
      expect(await pool.remains()).toEqual(nothingLeft);
    });

    test('applies changed bounds immediately', async () => {
      const pool = poolOf(release(), 'bounds');
      const spec = (bounds: object): object => ({
        template: squaresTemplate(),
        scaling: { tasksPerReplica: 1, scaleDown: { window: '60s' } },
        ...bounds,
      });
      await pool.apply(spec({ maxReplicas: 3 }));
      const tasks = squares(40, 400);
      await pool.push(tasks);
      await eventually(async () => {
        expect(await pool.replicas()).toBe(3);
        expect(await pool.condition('ScalingLimited')).toMatch(
          /^ScalingLimited=True MaxReplicas: .*maxReplicas 3/,
        );
      }, soon);
      await pool.apply(spec({ maxReplicas: 1 }));
      await eventually(async () => expect(await pool.replicas()).toBe(1), soon);
      await pool.apply(spec({ minReplicas: 2, maxReplicas: 2 }));
      await eventually(async () => expect(await pool.replicas()).toBe(2), soon);
      await pool.answers(tasks);
      await eventually(
        async () =>
          expect(await pool.condition('ScalingLimited')).toMatch(/^ScalingLimited=True MinReplicas/),
        soon,
      );
    });
  });

  test('cannot be given another queue, and the message has the reason', async () => {
    const pool = poolOf(release(), 'moved');
    await pool.apply({ template: squaresTemplate() });
    const change = pool.apply({ template: squaresTemplate(), queue: 'another' });
    await expect(change).rejects.toThrow('the queue of a pool cannot change, because tasks that wait');
  });

  const shown = new Set([
    'neither template nor target',
    'a Redis without address',
    'min above max',
    'no slots',
    'an unknown mode',
  ]);
  test.each(bad.filter(([what]) => shown.has(what)))('is refused with %s', async (_what, change, message) => {
    const pool = poolOf(release(), 'refused');
    await expect(pool.apply({ ...base, ...change })).rejects.toThrow(message);
  });

  describe.concurrent('in trouble', () => {
    test.each([
      ['a command that is not there', ['--command', '/app/missing'], /\/app\/missing/],
      ['a module that does not load', ['--module', '/app/missing.ts'], /\/app\/missing\.ts/],
      ['a flag that there is not', ['--modul', '/app/squares.ts'], /unknown option '--modul'/],
    ])('with %s says what its worker said last', async (what, args, words) => {
      const pool = poolOf(release(), what.replaceAll(' ', '-'));
      await pool.apply({ template: squaresTemplate({ args }), maxReplicas: 1 });
      await pool.push(squares(1, 0));
      await eventually(async () => {
        const ready = await pool.condition('Ready');
        expect(ready).toMatch(
          /^Ready=False WorkersFailing: Container "worker" of pod .* crashes \(exit code \d+.*\): /,
        );
        expect(ready).toMatch(words);
        expect(await pool.events()).toContainEqual(expect.stringMatching(/^WorkersFailing /));
      }, soon);
      await pool.apply({ template: squaresTemplate(), maxReplicas: 1 });
      await pool.answers(squares(1, 0));
      await eventually(async () => expect(await pool.condition('Ready')).toMatch(/^Ready=True/), soon);
    });

    test('whose image cannot be pulled reports it', async () => {
      const pool = poolOf(release(), 'no-image');
      const container = { image: 'millrace-test/missing:1', imagePullPolicy: 'Never' };
      await pool.apply({ template: squaresTemplate(container), minReplicas: 1 });
      const message =
        /^Ready=False WorkersFailing: Container "worker" of pod .* cannot start: ErrImageNeverPull/;
      await eventually(async () => expect(await pool.condition('Ready')).toMatch(message), soon);
    });

    test('whose Redis is down holds its replicas, reports why, and recovers', async () => {
      const pool = poolOf(release(), 'nowhere');
      const spec = { template: squaresTemplate(), minReplicas: 1, maxReplicas: 2 };
      await pool.apply({ ...spec, redis: { url: 'redis://nowhere.invalid:6379/0' } });
      await eventually(async () => {
        expect(await pool.condition('RedisReachable')).toMatch(
          /^RedisReachable=False Unreachable: .*nowhere\.invalid/,
        );
        expect(await pool.replicas()).toBe(1);
      }, soon);
      await pool.apply(spec);
      const tasks = squares(3, 0);
      await pool.push(tasks);
      await pool.answers(tasks);
      await eventually(
        async () => expect(await pool.condition('RedisReachable')).toMatch(/^RedisReachable=True/),
        soon,
      );
    });
  });
});
