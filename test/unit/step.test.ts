/** The steps of a pool that shrinks: which workers are removed when, and what the decision reports. */
import { describe, expect, test } from 'vitest';
import type { Drains } from '../../controller/act/scale-in.ts';
import { scene } from '../support/scale-in-scene.ts';

describe('a scale-in', () => {
  test('lowers replicas by the number of drained workers, and by the others once they have drained', async () => {
    const it = scene({ a: 'busy 1', b: 'busy 1', c: 'idle 0', d: 'busy 1' });
    it.work = 1;
    const first = await it.next();
    expect(first).toMatchObject({ scaled: undefined, requeueInMs: 100 });
    expect(first.decision.reason).toMatch(/^4→1: .*; 3 draining$/);
    expect([...it.leaving].toSorted()).toEqual(['b', 'c', 'd']);
    expect(it.log).toEqual(['unblock 3']);

    it.workers.set('b', 'draining 1').set('c', 'drained 0').set('d', 'draining 1');
    const second = await it.next();
    expect(second).toMatchObject({ scaled: { from: 4, to: 3 }, requeueInMs: 1_000 });
    expect(second.decision.reason).toMatch(/^4→1: .*; 1 drained, 2 draining$/);
    it.members.splice(2, 1); // c

    it.workers.set('b', 'drained 0');
    it.workers.set('d', 'drained 0');
    expect((await it.next()).scaled).toEqual({ from: 3, to: 1 });
    expect(it.log).toEqual(['unblock 3', 'remove c to 3', 'remove d b to 1']);
  });

  test('does not lower replicas again for a pod that is terminating already', async () => {
    const it = scene({ a: 'drained 0', b: 'drained 0', c: 'draining 1' });
    it.leaving = new Set(['a', 'b', 'c']);
    expect((await it.next()).scaled).toEqual({ from: 3, to: 1 });
    expect((await it.next()).scaled).toBeUndefined();
    expect(it.leaving).toEqual(new Set(['a', 'b', 'c']));
    it.workers.set('c', 'drained 0');
    await it.next();
    // all three are marked now, so any of them may be removed
    expect(it.log).toEqual(['remove b a to 1', 'remove a b c to 0']);
  });

  test('is cancelled before replicas are added, except for pods that are terminating already', async () => {
    const it = scene({ a: 'drained 0', b: 'draining 1', c: 'busy 1' });
    it.work = 1;
    it.leaving = new Set(['a', 'b']);
    await it.next();
    expect(it.wanted).toBe(2);
    it.work = 5;
    const made = await it.next();
    expect(made.scaled).toEqual({ from: 2, to: 5 });
    expect(it.log).toEqual(['remove a to 2', 'keep b', 'raise 5']);
    expect(it.leaving).toEqual(new Set(['a']));
    // five are wanted and there are three: a stays after all
    await it.next();
    expect(it.leaving).toEqual(new Set());
  });

  test('is cancelled when as many replicas are wanted as there are', async () => {
    const it = scene({ a: 'draining 1', b: 'busy 1' });
    it.leaving = new Set(['a']);
    it.work = 2;
    expect(await it.next()).toMatchObject({ scaled: undefined, requeueInMs: undefined });
    expect(it.log).toEqual(['keep a']);
  });

  test('adds replicas even if it cannot be cancelled', async () => {
    const it = scene({ a: 'draining 1' });
    it.leaving = new Set(['a']);
    it.work = 4;
    const broken: Drains = {
      read: () => Promise.resolve(new Map()),
      set: () => Promise.reject(new Error('Redis went away')),
      endWaits: () => Promise.resolve(),
    };
    await expect(it.next({ drains: broken })).rejects.toThrow('Redis went away');
    expect(it.log).toEqual(['raise 4']);
  });

  test('lowers nothing if Redis fails in the middle, and nothing in a dry run', async () => {
    const it = scene({ a: 'drained 0' });
    const away: Drains = {
      read: () => Promise.resolve(new Map()),
      set: () => Promise.reject(new Error('Redis went away')),
      endWaits: () => Promise.resolve(),
    };
    await expect(it.next({ drains: away })).rejects.toThrow('Redis went away');
    expect(await it.next({ sampled: { kind: 'unknown', reason: 'Unreachable', why: 'away' } })).toMatchObject(
      {
        scaled: undefined,
      },
    );
    expect(await it.next({ dryRun: true })).toMatchObject({ scaled: undefined, decision: { desired: 0 } });
    expect(it.log).toEqual([]);
    expect(it.leaving.size).toBe(0);
  });

  test('first removes replicas that were requested and never created', async () => {
    const it = scene({ a: 'busy 1' }, 3);
    it.work = 1;
    expect((await it.next()).scaled).toEqual({ from: 3, to: 1 });
    expect(it.log).toEqual(['remove to 1']);
    expect(it.leaving.size).toBe(0);
  });
});

describe('a pod that is not ready', () => {
  test('is removed first and without a drain if it is not registered', async () => {
    const it = scene({ a: 'busy 1', b: undefined });
    it.members[1] = { id: 'b', ready: false, created: 1, going: false };
    it.work = 1;
    expect((await it.next()).scaled).toEqual({ from: 2, to: 1 });
    expect(it.log).toEqual(['remove b to 1']);
    expect(it.leaving).toEqual(new Set(['b']));
  });

  test('blocks the removal of all others while it is busy, because the ReplicaSet would remove it instead', async () => {
    const it = scene({ a: 'idle 0', b: 'idle 0', c: 'busy 1' });
    it.members[2] = { id: 'c', ready: false, created: 2, going: false };
    it.work = 1;
    await it.next();
    expect([...it.leaving].toSorted()).toEqual(['b', 'c']);
    it.workers.set('b', 'drained 0').set('c', 'draining 1');
    expect((await it.next()).scaled).toBeUndefined();
    it.workers.set('c', 'drained 0');
    expect((await it.next()).scaled).toEqual({ from: 3, to: 1 });
  });
});

test('during a rollout nothing is removed while there is work, because the Deployment chooses the pods', async () => {
  const it = scene({ a: 'idle 0', b: 'idle 0', c: 'busy 1' }, 2);
  it.rollingOut = true;
  it.work = 1;
  expect(await it.next()).toMatchObject({ scaled: undefined, held: { reason: 'Rollout' } });
  expect(it.leaving.size).toBe(0);
  it.work = 0;
  await it.next();
  expect(it.leaving.size).toBe(2);
});
