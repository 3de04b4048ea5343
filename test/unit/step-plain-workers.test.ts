/** Steps of a pool whose pods are not registered in Redis: plain workers, which cannot drain, and replicas that still start. */
import { describe, expect, test } from 'vitest';
import { nothingKept } from '../../controller/act/step.ts';
import { policy, scene, type Scene } from '../support/scale-in-scene.ts';

describe('a plain worker, which cannot drain,', () => {
  const plain = (): Scene => scene({ a: undefined, b: undefined, c: undefined });

  test('is distinguished from a starting replica by staying unregistered for 5 s', async () => {
    const it = plain();
    expect((await it.next()).scaled).toBeUndefined();
    it.now = 4_999;
    expect((await it.next()).scaled).toBeUndefined();
    it.now = 5_000;
    expect((await it.next()).scaled).toEqual({ from: 3, to: 0 });
  });

  test('is kept while there is work, and reported', async () => {
    const it = plain();
    it.work = 1;
    await it.next();
    it.now = 6_000;
    const made = await it.next();
    expect(made).toMatchObject({
      scaled: undefined,
      requeueInMs: undefined,
      held: { reason: 'UnmanagedWorkers' },
    });
    expect(made.held?.message).toBe(
      'c and 1 more are ready but not registered in Redis and cannot drain: held until nothing waits and ' +
        'nothing is in flight (scaling.scaleDown.unmanaged is WhenIdle)',
    );
    expect(it.leaving.size).toBe(0);
    it.work = 0;
    expect((await it.next()).scaled).toEqual({ from: 3, to: 0 });
  });

  test.each([
    ['Always', 1, 1],
    ['Never', 0, 3],
  ] as const)('with %s and %i tasks: down to %i', async (unmanaged, work, left) => {
    const it = plain();
    it.work = work;
    await it.next({ unmanaged });
    it.now = 6_000;
    await it.next({ unmanaged });
    expect(it.wanted).toBe(left);
  });

  test('is kept if enough others can drain', async () => {
    const it = scene({ a: undefined, b: 'drained 0', c: 'idle 0' });
    it.work = 1;
    it.kept = { ...nothingKept, absent: new Map([['a', -10_000]]) };
    await it.next();
    it.workers.set('c', 'drained 0');
    expect((await it.next()).held).toBeUndefined();
    expect(it.wanted).toBe(1);
    expect(it.log.filter((line) => line.split(' ').includes('a'))).toEqual([]);
  });
});

test('replicas are up when their workers are registered, or when Kubernetes reports them as ready', async () => {
  const target = { policy: { ...policy, targetWaitMs: 10_000 } };
  const up = async (it: Scene): Promise<number | undefined> =>
    (await it.next(target)).decision.memory.learned?.ready;
  const it = scene({ a: 'idle 0', b: 'busy 1', c: undefined });
  for (const [i, member] of it.members.entries()) it.members[i] = { ...member, ready: false };
  expect(await up(it)).toBe(2);
  // two that are lost and still registered, and one pod that replaces them
  it.members.splice(1);
  expect(await up(it)).toBe(1);
  expect(await up(scene({ a: undefined, b: undefined }))).toBe(2);
});

test('workers of other pools do not count as replicas that are up', async () => {
  const target = { policy: { ...policy, targetWaitMs: 10_000 } };
  const up = async (it: Scene): Promise<number | undefined> =>
    (await it.next(target)).decision.memory.learned?.ready;
  const it = scene({ x: 'busy 1', y: 'busy 1' }, 0);
  it.members.splice(0);
  it.work = 2;
  expect(await up(it)).toBe(0);
  for (const id of ['a', 'b']) it.members.push({ id, ready: false, created: 0, going: false });
  it.wanted = 2;
  expect(await up(it)).toBe(0);
  it.workers.set('a', 'idle 0');
  expect(await up(it)).toBe(1);
});
