/** Steps whose watch lags behind: what is removed is decided on a fresh list of the pods. */
import { describe, expect, test } from 'vitest';
import { scene } from '../support/scale-in-scene.ts';

describe('a watch that lags', () => {
  test('pods that it does not show yet neither count as never created nor are passed over', async () => {
    const it = scene({ a: 'drained 0', b: 'busy 1', c: 'busy 1', d: 'drained 0' });
    it.late = { all: it.members.slice(0, 1) };
    it.work = 2;
    expect((await it.next()).scaled).toEqual({ from: 4, to: 2 });
    expect(it.log).toEqual(['remove d a to 2']);
  });

  test('nothing is removed if a busy pod is no longer ready in the fresh list', async () => {
    const it = scene({ a: 'drained 0', b: 'busy 1' });
    it.work = 1;
    it.fresh = {
      all: it.members.map((member) => (member.id === 'b' ? { ...member, ready: false } : member)),
    };
    expect((await it.next()).scaled).toBeUndefined();
    expect(it.log).toEqual(['keep a', 'unblock 1']);
  });

  test.each([
    ['the replicas were changed', { wanted: 5 }],
    ['the counts are those of an earlier number of replicas', { settled: false }],
    ['the status counts pods that the list does not show', { existing: 3 }],
  ])('nothing is removed when %s', async (_, fresh) => {
    const it = scene({ a: 'drained 0', b: 'busy 1' });
    it.fresh = fresh;
    it.work = 1;
    expect(await it.next()).toMatchObject({ scaled: undefined, requeueInMs: 1_000 });
    expect(it.log).toEqual([]);
  });

  test('after a change before the write, the next pass follows soon', async () => {
    const it = scene({ a: 'drained 0', b: 'busy 1' });
    it.work = 1;
    it.meanwhile = true;
    expect(await it.next()).toMatchObject({ scaled: undefined, requeueInMs: 100 });
    it.meanwhile = false;
    expect((await it.next()).scaled).toEqual({ from: 2, to: 1 });
  });

  test('nothing is raised after such a change either, and the next step follows soon', async () => {
    const it = scene({ a: 'busy 1' });
    it.work = 3;
    it.meanwhile = true;
    expect(await it.next()).toMatchObject({ scaled: undefined, requeueInMs: 100 });
    it.meanwhile = false;
    expect((await it.next()).scaled).toEqual({ from: 1, to: 3 });
  });

  test('counts that keep differing are reported after ten seconds', async () => {
    const it = scene({ a: 'drained 0', b: 'busy 1' });
    it.work = 1;
    it.fresh = { existing: 3 };
    expect((await it.next()).held).toBeUndefined();
    it.now = 9_999;
    expect((await it.next()).held).toBeUndefined();
    it.now = 10_000;
    expect((await it.next()).held).toEqual({
      reason: 'CountsDiffer',
      message:
        "the Deployment's status counts 3 pods, and a list of its pods shows 2: replicas that cannot be identified stay until the counts agree",
    });
  });

  test('then a list is read every ten seconds only, until the watch shows that they agree', async () => {
    const stuck = async (): Promise<ReturnType<typeof scene>> => {
      const it = scene({ a: 'drained 0', b: 'busy 1' });
      it.work = 1;
      it.late = { existing: 3 };
      it.fresh = { existing: 3 };
      await it.next();
      it.now = 10_000;
      expect((await it.next()).held?.reason).toBe('CountsDiffer');
      // a list would show it
      it.fresh = {};
      it.now = 19_999;
      expect(await it.next()).toMatchObject({ scaled: undefined, held: { reason: 'CountsDiffer' } });
      return it;
    };
    const [one, other] = [await stuck(), await stuck()];
    one.now = 20_000;
    expect(await one.next()).toMatchObject({ scaled: { from: 2, to: 1 }, held: undefined });
    other.late = {};
    expect(await other.next()).toMatchObject({ scaled: { from: 2, to: 1 }, held: undefined });
  });

  describe('a status that counts pods which a list does not show', () => {
    const differing = async (): Promise<ReturnType<typeof scene>> => {
      const it = scene({ a: 'drained 0', b: 'busy 1' });
      it.work = 1;
      it.late = { existing: 3 };
      it.fresh = { existing: 3 };
      await it.next();
      return it;
    };
    /** Whether a list is read: it would show now that the counts agree. */
    const reads = async (it: ReturnType<typeof scene>, now: number): Promise<boolean> => {
      it.now = now;
      it.fresh = {};
      const { scaled } = await it.next();
      it.fresh = { existing: 3 };
      return scaled !== undefined;
    };

    test('has the list read again at once when the watch shows a change', async () => {
      const it = await differing();
      expect(await reads(it, 1_000)).toBe(false);
      it.late = { existing: 4 };
      expect(await reads(it, 2_000)).toBe(true);
    });

    test('else not before it has lasted as long again, ten seconds at least and a minute at most', async () => {
      const it = await differing();
      for (const at of [10_000, 20_000, 40_000, 80_000, 140_000, 200_000]) {
        expect(await reads(it, at - 1)).toBe(false);
        it.now = at;
        expect((await it.next()).held?.reason).toBe('CountsDiffer');
      }
      expect(await reads(it, 259_999)).toBe(false);
      expect(await reads(it, 260_000)).toBe(true);
    });
  });

  test('cancelling a scale-in removes the mark that an earlier pass left on a pod that stays', async () => {
    const it = scene({ a: 'draining 1', b: 'busy 1' });
    it.leaving = new Set(['a']);
    it.members[0] = { id: 'a', ready: true, created: 0, going: true };
    it.work = 2;
    await it.next();
    expect(it.members.map(({ going }) => going)).toEqual([false, false]);
  });
});
