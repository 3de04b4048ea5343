/** The steps of a pool that shrinks, on a target and in a Redis that a test plays: who goes when, and what is said of it. */
import { describe, expect, test } from 'vitest';
import { noMemory, type Policy } from '../../controller/decide/decision.ts';
import type { Drains } from '../../controller/act/scale-in.ts';
import { nothingKept, step, type Kept, type Step, type StepInput } from '../../controller/act/step.ts';
import type { Member, Members, Target } from '../../controller/act/target.ts';
import type { WorkerLoad } from '../../queue/workers/worker-load.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';

const policy: Policy = {
  minReplicas: 0,
  maxReplicas: 10,
  tasksPerReplica: 1,
  windowMs: 0,
  fallback: undefined,
  paused: false,
};
const whose = { namespace: 'here', pool: 'tiles', target: 'tiles' };
const seasoned = { ...noMemory, since: -1e9, knownAt: -1 };

/** A cluster and a Redis with these workers: `state inFlight`, or nothing where one is not registered. */
interface Scene {
  readonly workers: Map<string, string | undefined>;
  readonly members: Member[];
  /** What a watch shows of it, where that is late. */
  late: Partial<Members>;
  /** What a fresh look shows other than it should. */
  fresh: Partial<Members>;
  wanted: number;
  rollingOut: boolean;
  /** What happened, in order. */
  readonly log: string[];
  work: number;
  leaving: Set<string>;
  now: number;
  kept: Kept;
  /** Somebody changes the target between the fresh look and the write. */
  meanwhile: boolean;
  next(change?: Partial<StepInput>): Promise<Step>;
}

function scene(workers: Record<string, string | undefined>, wanted = Object.keys(workers).length): Scene {
  const log: string[] = [];
  const all = new Map(Object.entries(workers));
  const members = [...all.keys()].map((id, created) => ({ id, ready: true, created, going: false }));
  const target: Target = {
    observe: () =>
      Promise.resolve({
        wanted: it.wanted,
        existing: members.length,
        ready: members.filter(({ ready }) => ready).length,
        trouble: undefined,
        rollingOut: it.rollingOut,
      }),
    members: (how) => {
      const { rollingOut } = it;
      const counts = { wanted: it.wanted, existing: members.length, rollingOut, ending: [], settled: true };
      const now = { ...counts, all: [...members], fresh: how === 'fresh' };
      return Promise.resolve({ ...now, ...(how === 'fresh' ? it.fresh : it.late) });
    },
    raise: (replicas) => {
      log.push(`raise ${replicas}`);
      it.wanted = replicas;
      return Promise.resolve();
    },
    keep: (ids) => {
      for (const [i, member] of members.entries())
        if (ids.includes(member.id)) members[i] = { ...member, going: false };
      return Promise.resolve();
    },
    remove: (ids, replicas) => {
      if (it.meanwhile) return Promise.resolve(false);
      log.push(`remove ${ids.join(' ')} to ${replicas}`.replace('  ', ' '));
      it.wanted = replicas;
      for (const [i, member] of members.entries()) members[i] = { ...member, going: ids.includes(member.id) };
      return Promise.resolve(true);
    },
  };
  const loadsOf = (ids: Iterable<string>): Map<string, WorkerLoad> => {
    const loads = new Map<string, WorkerLoad>();
    for (const id of ids) {
      const [state, inFlight, pool = ''] = it.workers.get(id)?.split(' ') ?? [];
      if (state) loads.set(id, { state, inFlight: Number(inFlight), blockers: [7], pool });
    }
    return loads;
  };
  const drains: Drains = {
    read: () => Promise.resolve(loadsOf(it.workers.keys())),
    set: (verdicts) => {
      for (const [id, verdict] of verdicts) {
        if (verdict === 'leave') it.leaving.add(id);
        if (verdict === 'stay' && it.leaving.delete(id)) log.push(`keep ${id}`);
      }
      return Promise.resolve(loadsOf(verdicts.keys()));
    },
    rouse: (loads) => {
      const count = [...loads].length;
      if (count > 0) log.push(`rouse ${count}`);
      return Promise.resolve();
    },
  };
  const it: Scene = {
    workers: all,
    members,
    wanted,
    rollingOut: false,
    log,
    work: 0,
    leaving: new Set(),
    now: 0,
    kept: nothingKept,
    late: {},
    fresh: {},
    meanwhile: false,
    next: async (change = {}) => {
      const { work: inFlight, leaving } = it;
      const none = { waiting: 0, due: 0 };
      const registered = [...it.workers.values()].filter((worker) => worker !== undefined).length;
      const counters = { taken: 0, completed: 0, failed: 0, cancelled: 0, retried: 0, serviceUs: 0 };
      const said = { workers: registered, leaving: leaving.size, counters };
      const parts = { ...none, ...said, inFlight, runnable: none, pausedQueues: 0 };
      const sample = parts as unknown as PoolSample;
      const { now, kept } = it;
      const sampled = { kind: 'known' as const, sample };
      const input = { policy, sampled, target, memory: seasoned, now, dryRun: false, drains, kept, whose };
      const made = await step({ ...input, unmanaged: 'WhenIdle', ...change });
      it.kept = made.kept;
      return made;
    },
  };
  return it;
}

test('replicas are up when their workers are registered, or when Kubernetes calls them ready', async () => {
  const target = { policy: { ...policy, targetWaitMs: 10_000 } };
  const up = async (it: Scene): Promise<number | undefined> =>
    (await it.next(target)).decision.memory.learned?.ready;
  const it = scene({ a: 'idle 0', b: 'busy 1', c: undefined });
  for (const [i, member] of it.members.entries()) it.members[i] = { ...member, ready: false };
  expect(await up(it)).toBe(2);
  // two that are lost and still registered, one pod that takes their place
  it.members.splice(1);
  expect(await up(it)).toBe(1);
  expect(await up(scene({ a: undefined, b: undefined }))).toBe(2);
});

describe('a scale-in', () => {
  test('lowers by those that have drained, and by the others when they have', async () => {
    const it = scene({ a: 'busy 1', b: 'busy 1', c: 'idle 0', d: 'busy 1' });
    it.work = 1;
    const first = await it.next();
    expect(first).toMatchObject({ scaled: undefined, requeueInMs: 100 });
    expect(first.decision.reason).toMatch(/^4→1: .*; 3 draining$/);
    expect([...it.leaving].toSorted()).toEqual(['b', 'c', 'd']);
    expect(it.log).toEqual(['rouse 3']);

    it.workers.set('b', 'draining 1').set('c', 'drained 0').set('d', 'draining 1');
    const second = await it.next();
    expect(second).toMatchObject({ scaled: { from: 4, to: 3 }, requeueInMs: 1_000 });
    expect(second.decision.reason).toMatch(/^4→1: .*; 1 drained, 2 draining$/);
    it.members.splice(2, 1); // c

    it.workers.set('b', 'drained 0');
    it.workers.set('d', 'drained 0');
    expect((await it.next()).scaled).toEqual({ from: 3, to: 1 });
    expect(it.log).toEqual(['rouse 3', 'remove c to 3', 'remove d b to 1']);
  });

  test('does not lower for one that is being taken away already and is only not gone yet', async () => {
    const it = scene({ a: 'drained 0', b: 'drained 0', c: 'draining 1' });
    it.leaving = new Set(['a', 'b', 'c']);
    expect((await it.next()).scaled).toEqual({ from: 3, to: 1 });
    expect((await it.next()).scaled).toBeUndefined();
    expect(it.leaving).toEqual(new Set(['a', 'b', 'c']));
    it.workers.set('c', 'drained 0');
    await it.next();
    // all three carry the mark now: whichever goes, it is one that may
    expect(it.log).toEqual(['remove b a to 1', 'remove a b c to 0']);
  });

  test('is called off before anything is added, but not for those that are beyond saving', async () => {
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
    // five are wanted and three are there: a stays after all
    await it.next();
    expect(it.leaving).toEqual(new Set());
  });

  test('is called off when as many are wanted as there are', async () => {
    const it = scene({ a: 'draining 1', b: 'busy 1' });
    it.leaving = new Set(['a']);
    it.work = 2;
    expect(await it.next()).toMatchObject({ scaled: undefined, requeueInMs: undefined });
    expect(it.log).toEqual(['keep a']);
  });

  test('adds replicas also when it cannot be called off', async () => {
    const it = scene({ a: 'draining 1' });
    it.leaving = new Set(['a']);
    it.work = 4;
    const broken: Drains = {
      read: () => Promise.resolve(new Map()),
      set: () => Promise.reject(new Error('Redis went away')),
      rouse: () => Promise.resolve(),
    };
    await expect(it.next({ drains: broken })).rejects.toThrow('Redis went away');
    expect(it.log).toEqual(['raise 4']);
  });

  test('lowers nothing when Redis goes away in the middle, and nothing in a dry run', async () => {
    const it = scene({ a: 'drained 0' });
    const away: Drains = {
      read: () => Promise.resolve(new Map()),
      set: () => Promise.reject(new Error('Redis went away')),
      rouse: () => Promise.resolve(),
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

  test('takes replicas that were asked for and never came first', async () => {
    const it = scene({ a: 'busy 1' }, 3);
    it.work = 1;
    expect((await it.next()).scaled).toEqual({ from: 3, to: 1 });
    expect(it.log).toEqual(['remove to 1']);
    expect(it.leaving.size).toBe(0);
  });
});

describe('what is not ready', () => {
  test('goes first and unasked when it is not registered', async () => {
    const it = scene({ a: 'busy 1', b: undefined });
    it.members[1] = { id: 'b', ready: false, created: 1, going: false };
    it.work = 1;
    expect((await it.next()).scaled).toEqual({ from: 2, to: 1 });
    expect(it.log).toEqual(['remove b to 1']);
    expect(it.leaving).toEqual(new Set(['b']));
  });

  test('holds up all others while it works, because the ReplicaSet would take it instead of them', async () => {
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

describe('what cannot drain', () => {
  const plain = (): Scene => scene({ a: undefined, b: undefined, c: undefined });

  test('is told from one that only starts by staying unregistered for 5 s', async () => {
    const it = plain();
    expect((await it.next()).scaled).toBeUndefined();
    it.now = 4_999;
    expect((await it.next()).scaled).toBeUndefined();
    it.now = 5_000;
    expect((await it.next()).scaled).toEqual({ from: 3, to: 0 });
  });

  test('stays while there is work, and says so', async () => {
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

  test('stays while others that can are enough', async () => {
    const it = scene({ a: undefined, b: 'drained 0', c: 'idle 0' });
    it.work = 1;
    it.kept = { ...nothingKept, absent: new Map([['a', -10_000]]) };
    await it.next();
    it.workers.set('c', 'drained 0');
    expect((await it.next()).held).toBeUndefined();
    expect(it.wanted).toBe(1);
    expect(it.log.filter((line) => line.includes('a'))).toEqual([]);
  });
});

test('during a rollout nothing goes while there is work: which, is not ours to say', async () => {
  const it = scene({ a: 'idle 0', b: 'idle 0', c: 'busy 1' }, 2);
  it.rollingOut = true;
  it.work = 1;
  expect(await it.next()).toMatchObject({ scaled: undefined, held: { reason: 'Rollout' } });
  expect(it.leaving.size).toBe(0);
  it.work = 0;
  await it.next();
  expect(it.leaving.size).toBe(2);
});

describe('what a watch shows is not what is acted on', () => {
  test('pods that it does not show yet are neither taken for ones that never came, nor passed over', async () => {
    const it = scene({ a: 'drained 0', b: 'busy 1', c: 'busy 1', d: 'drained 0' });
    it.late = { all: it.members.slice(0, 1) };
    it.work = 2;
    expect((await it.next()).scaled).toEqual({ from: 4, to: 2 });
    expect(it.log).toEqual(['remove d a to 2']);
  });

  test('one that is busy after all, or not ready any more, when it is looked at', async () => {
    const it = scene({ a: 'drained 0', b: 'busy 1' });
    it.work = 1;
    it.fresh = {
      all: it.members.map((member) => (member.id === 'b' ? { ...member, ready: false } : member)),
    };
    expect((await it.next()).scaled).toBeUndefined();
    expect(it.log).toEqual(['keep a', 'rouse 1']);
  });

  test.each([
    ['somebody has set other replicas', { wanted: 5 }],
    ['the counts are of an earlier wish', { settled: false }],
    ['the status counts pods that no list shows', { existing: 3 }],
  ])('nothing goes when %s', async (_, fresh) => {
    const it = scene({ a: 'drained 0', b: 'busy 1' });
    it.fresh = fresh;
    it.work = 1;
    expect(await it.next()).toMatchObject({ scaled: undefined, requeueInMs: 1_000 });
    expect(it.log).toEqual([]);
  });

  test('what has changed before the write is looked at again soon', async () => {
    const it = scene({ a: 'drained 0', b: 'busy 1' });
    it.work = 1;
    it.meanwhile = true;
    expect(await it.next()).toMatchObject({ scaled: undefined, requeueInMs: 100 });
    it.meanwhile = false;
    expect((await it.next()).scaled).toEqual({ from: 2, to: 1 });
  });

  test('counts that go on differing are told of after ten seconds', async () => {
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
        "the Deployment's status counts 3 pods, and a list of its pods shows 2: what is not known stays until they agree",
    });
  });

  test('a mark that an earlier pass left on a pod that stays is taken off when the scale-in is called off', async () => {
    const it = scene({ a: 'draining 1', b: 'busy 1' });
    it.leaving = new Set(['a']);
    it.members[0] = { id: 'a', ready: true, created: 0, going: true };
    it.work = 2;
    await it.next();
    expect(it.members.map(({ going }) => going)).toEqual([false, false]);
  });
});

test('workers of elsewhere are not taken for replicas that are up', async () => {
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
