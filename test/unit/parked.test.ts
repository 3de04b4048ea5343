/** Steps of a pool that parks replicas: which pods wake, which are parked, how many there are. */
import { describe, expect, test } from 'vitest';
import { planParking } from '../../controller/act/parked/plan.ts';
import type { Member } from '../../controller/act/target.ts';
import type { WorkerLoad } from '../../queue/workers/worker-load.ts';
import { policy, scene, type Scene } from '../support/scale-in-scene.ts';

/** Members by name, `parked idle 0`; `up` last for the one that is not: `full down`. */
function parkedScene(parking: number, of: Record<string, string>): Scene {
  const split = Object.entries(of).map(([id, text]) => [id, text.split(' ')] as const);
  const it = scene(
    Object.fromEntries(
      split.map(([id, [, ...load]]) => [id, load[0] === 'down' ? undefined : load.join(' ')]),
    ),
  );
  for (const [i, [, [size, state]]] of split.entries()) {
    const member = it.members[i] as Member;
    it.members[i] = { ...member, size: size as 'full', ready: state !== 'down' };
  }
  it.parking = parking;
  return it;
}

const sizes = (it: Scene): string => it.members.map(({ id, size }) => `${id} ${size}`).join(', ');

describe('a pool without work', () => {
  test('parks its last replicas instead of removing them, once they have drained', async () => {
    const it = parkedScene(2, { a: 'full idle 0', b: 'full idle 0' });
    const first = await it.next();
    expect(first).toMatchObject({ scaled: undefined, requeueInMs: 100, decision: { desired: 0 } });
    expect(first.decision.reason).toMatch(/^2→0: .*; 2 are kept parked$/);
    expect(it.leaving).toEqual(new Set(['a', 'b']));
    expect(sizes(it)).toBe('a full, b full');

    it.workers.set('a', 'drained 0');
    await it.next();
    expect(sizes(it)).toBe('a parked, b full');
    // the first task begins there at once
    expect(it.leaving).toEqual(new Set(['b']));

    it.workers.set('a', 'idle 0').set('b', 'drained 0');
    expect((await it.next()).park).toMatchObject({ parked: 1, woken: 0 });
    expect(sizes(it)).toBe('a parked, b parked');
    expect(it.leaving.size).toBe(0);
  });

  test('that is parked is left alone', async () => {
    const it = parkedScene(2, { a: 'parked idle 0', b: 'parked idle 0' });
    const { park, scaled, decision } = await it.next();
    expect([park, scaled, it.log]).toEqual([undefined, undefined, []]);
    expect(decision).toMatchObject({
      cause: 'Enough',
      numbers: { current: 0, parked: { replicas: 2, now: 2 } },
    });
  });

  test('removes the others first', async () => {
    const it = parkedScene(1, { a: 'full drained 0', b: 'full drained 0', c: 'full drained 0' });
    expect((await it.next()).scaled).toEqual({ from: 3, to: 1 });
    expect(it.log).toEqual(['remove c b to 1']);
    it.members.splice(1, 2);
    await it.next();
    expect(sizes(it)).toBe('a parked');
  });

  test('starts the replicas that are to be parked', async () => {
    const it = parkedScene(2, {});
    expect((await it.next()).scaled).toEqual({ from: 0, to: 2 });
  });

  test('parks nothing that has not registered, nor what holds a task, nor during a rollout', async () => {
    const down = parkedScene(1, { a: 'full down' });
    await down.next();
    const busy = parkedScene(1, { a: 'full drained 1' });
    await busy.next();
    const rolling = parkedScene(1, { a: 'full drained 0' });
    rolling.rollingOut = true;
    await rolling.next();
    expect([sizes(down), sizes(busy), sizes(rolling)]).toEqual(['a full', 'a full', 'a full']);
  });

  test('says so of pods in which no worker of Millrace is', async () => {
    const it = parkedScene(1, { a: 'full down' });
    it.members[0] = { ...(it.members[0] as Member), ready: true };
    expect((await it.next()).park?.unmanaged).toEqual([]);
    it.now = 5_000;
    expect((await it.next()).park?.unmanaged).toEqual(['a']);
  });
});

describe('work', () => {
  test('wakes the replica that has taken the task, and the other takes nothing', async () => {
    const it = parkedScene(2, { a: 'parked idle 0', b: 'parked busy 1' });
    it.work = 1;
    const made = await it.next();
    expect(made).toMatchObject({ scaled: undefined, park: { woken: 1 }, decision: { desired: 1 } });
    expect(made.decision.reason).toMatch(/^0→1: .*; 1 parked replica wakes$/);
    expect(sizes(it)).toBe('a parked, b full');
    expect(it.leaving).toEqual(new Set(['a']));
    // nothing was learned of a start, as there was none
    expect(made.decision.memory.starting?.starts).toEqual([]);
  });

  test('for more than are parked adds replicas at the same time', async () => {
    const it = parkedScene(2, { a: 'parked idle 0', b: 'parked busy 1' });
    it.work = 1;
    it.waiting = 4;
    expect((await it.next()).scaled).toEqual({ from: 2, to: 5 });
    expect(it.log.toSorted()).toEqual(['full a b', 'raise 5']);
    expect(it.leaving.size).toBe(0);
  });

  test('wakes whatever holds a task, even if fewer would do', async () => {
    const it = parkedScene(3, { a: 'parked busy 1', b: 'parked busy 1', c: 'parked idle 0' });
    it.work = 2;
    await it.next({ policy: { ...policy, tasksPerReplica: 5 } });
    expect(sizes(it)).toBe('a full, b full, c parked');
    expect(it.leaving).toEqual(new Set(['b', 'c']));
  });

  test('that ends parks one of two', async () => {
    const it = parkedScene(2, { a: 'full busy 1', b: 'full drained 0' });
    it.work = 1;
    await it.next();
    expect(sizes(it)).toBe('a full, b parked');
    expect(it.leaving).toEqual(new Set(['b']));
  });

  test('is given to a parked replica that is up, not to one that does not start', async () => {
    const it = parkedScene(2, { a: 'parked drained 0', b: 'full down' });
    it.waiting = 1;
    await it.next();
    expect(sizes(it)).toBe('a full, b full');
    expect(it.leaving).toEqual(new Set(['b']));
  });

  test('starts another replica instead of one that does not get its size, up to maxReplicas', async () => {
    const it = parkedScene(1, { a: 'stuck busy 1' });
    it.work = 1;
    const made = await it.next();
    expect(made.scaled).toEqual({ from: 1, to: 2 });
    // it works meanwhile
    expect(it.leaving.size).toBe(0);
    const full = parkedScene(1, { a: 'stuck busy 1' });
    full.work = 1;
    expect((await full.next({ policy: { ...policy, maxReplicas: 1 } })).scaled).toBeUndefined();
  });

  test('that is over lets what is stuck be parked again', async () => {
    const it = parkedScene(1, { a: 'stuck drained 0' });
    await it.next();
    expect(sizes(it)).toBe('a parked');
  });

  test('that comes during a scale-in does not wait for it', async () => {
    const it = parkedScene(1, { a: 'parked idle 0', b: 'parked busy 1', c: 'full busy 1' });
    it.work = 2;
    await it.next({ policy: { ...policy, tasksPerReplica: 1, maxReplicas: 2 } });
    expect(it.log).toContain('full b');
  });
});

describe('a pause, a dry run, a queue that cannot be read', () => {
  const sleeping = (): Scene => parkedScene(2, { a: 'parked idle 0', b: 'full busy 1' });
  const unread = { kind: 'unknown', reason: 'Unreachable', why: 'gone' } as const;

  test('leave everything as it is', async () => {
    for (const change of [{ policy: { ...policy, paused: true } }, { dryRun: true }, { sampled: unread }]) {
      const it = sleeping();
      it.work = 3;
      const { scaled, park } = await it.next(change);
      expect([scaled, park, it.log]).toEqual([undefined, undefined, []]);
    }
  });

  test('a pause with a number is that number, without parked ones', async () => {
    const pause = (replicas: number): object => ({
      policy: { ...policy, paused: true, pause: { by: 'a', replicas } },
    });
    const two = sleeping();
    await two.next(pause(2));
    expect(sizes(two)).toBe('a full, b full');
    const none = parkedScene(2, { a: 'parked drained 0', b: 'parked drained 0' });
    expect((await none.next(pause(0))).scaled).toEqual({ from: 2, to: 0 });
  });

  test('the fallback wakes them without Redis', async () => {
    const it = sleeping();
    const memory = { since: -1e9, knownAt: -1e9, needs: [] };
    const fallback = { afterMs: 1, replicas: 2 };
    await it.next({ sampled: unread, drains: undefined, memory, policy: { ...policy, fallback } });
    expect(sizes(it)).toBe('a full, b full');
  });
});

describe('other settings', () => {
  test('a floor works, above it some are parked', async () => {
    const it = parkedScene(3, { a: 'full idle 0', b: 'full drained 0', c: 'full drained 0' });
    await it.next({ policy: { ...policy, minReplicas: 1 } });
    expect(sizes(it)).toBe('a full, b parked, c parked');
    expect((await it.next({ policy: { ...policy, minReplicas: 3 } })).scaled).toBeUndefined();
    expect(sizes(it)).toBe('a full, b full, c full');
  });

  test('a maximum of nothing, by a schedule, removes parked ones too', async () => {
    const it = parkedScene(2, { a: 'parked drained 0', b: 'parked drained 0' });
    expect((await it.next({ policy: { ...policy, maxReplicas: 0 } })).scaled).toEqual({ from: 2, to: 0 });
  });

  test('a pool that no longer parks, or cannot, removes them without work and wakes them with it', async () => {
    const idle = parkedScene(0, { a: 'parked drained 0', b: 'parked drained 0' });
    expect((await idle.next()).scaled).toEqual({ from: 2, to: 0 });
    const busy = parkedScene(0, { a: 'parked busy 1' });
    busy.work = 1;
    await busy.next();
    expect(sizes(busy)).toBe('a full');
  });
});

test('of members that are equal, the choice stays', () => {
  const member = (id: string, created: number): Member => ({
    id,
    created,
    ready: true,
    going: false,
    size: 'full',
  });
  const load = (state: string): WorkerLoad => ({ state, inFlight: 1, blockers: [], pool: '' });
  const members = [member('a', 1), member('b', 2), member('c', 3)];
  const marked = (states: readonly string[]): string =>
    planParking({
      members,
      loads: new Map(members.map(({ id }, i) => [id, load(states[i] ?? 'busy')])),
      desired: 2,
    })
      .marked.map(({ id }) => id)
      .join();
  expect(marked(['busy', 'busy', 'busy'])).toBe('c');
  expect(marked(['draining', 'busy', 'busy'])).toBe('a');
});
