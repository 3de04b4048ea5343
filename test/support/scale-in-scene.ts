/** A pool for the tests of a step's scale-in: its pods, its workers in Redis, and a log of what a step did to them. */
import { noMemory, type Policy } from '../../controller/decide/decision.ts';
import type { Drains } from '../../controller/act/scale-in.ts';
import { nothingKept, step, type Kept, type Step, type StepInput } from '../../controller/act/step.ts';
import type { Member, Members, ParkedCounts, Target } from '../../controller/act/target.ts';
import type { WorkerLoad } from '../../queue/workers/worker-load.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import { plainRule } from './policies.ts';

/** A replica for each task, without a window. */
export const policy: Policy = { ...plainRule, tasksPerReplica: 1, windowMs: 0 };
const identity = { namespace: 'here', pool: 'tiles', target: 'tiles' };
const seasoned = { ...noMemory, since: -1e9, knownAt: -1 };

/** A pool with these workers, in a cluster and a Redis that a test controls. */
export interface Scene {
  /** By worker, `state inFlight`; `undefined`: not registered. */
  readonly workers: Map<string, string | undefined>;
  readonly members: Member[];
  /** How the watch differs from the members, if it lags. */
  late: Partial<Members>;
  /** How a fresh list differs from the members. */
  fresh: Partial<Members>;
  wanted: number;
  rollingOut: boolean;
  /** What was done, in order. */
  readonly log: string[];
  work: number;
  leaving: Set<string>;
  now: number;
  kept: Kept;
  /** The target is changed between the fresh list and the write. */
  meanwhile: boolean;
  /** Parks this many replicas; `undefined`: not a pool that does. The size of a member is its own. */
  parking: number | undefined;
  waiting: number;
  next(change?: Partial<StepInput>): Promise<Step>;
}

export function scene(
  workers: Record<string, string | undefined>,
  wanted = Object.keys(workers).length,
): Scene {
  const log: string[] = [];
  const all = new Map(Object.entries(workers));
  const members = [...all.keys()].map((id, created): Member => ({ id, ready: true, created, going: false }));
  const resize = (ids: readonly string[], to: 'full' | 'parked'): Promise<readonly string[]> => {
    if (ids.length > 0) log.push(`${to} ${ids.toSorted().join(' ')}`);
    for (const [i, member] of members.entries())
      if (ids.includes(member.id)) members[i] = { ...member, size: to };
    return Promise.resolve(ids);
  };
  const target: Target = {
    observe: () =>
      Promise.resolve({
        wanted: it.wanted,
        existing: members.length,
        ready: members.filter(({ ready }) => ready).length,
        trouble: undefined,
        rollingOut: it.rollingOut,
        ...(it.parking !== undefined && { parked: countsOf(members) }),
      }),
    get parking() {
      const replicas = it.parking;
      return replicas === undefined ? undefined : { replicas, resize };
    },
    members: (how) => {
      const { rollingOut } = it;
      const counts = { wanted: it.wanted, existing: members.length, rollingOut, ending: [], settled: true };
      const now = { ...counts, all: [...members], fresh: how === 'fresh' };
      return Promise.resolve({ ...now, ...(how === 'fresh' ? it.fresh : it.late) });
    },
    raise: (replicas) => {
      if (it.meanwhile) return Promise.resolve(false);
      log.push(`raise ${replicas}`);
      it.wanted = replicas;
      return Promise.resolve(true);
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
    endWaits: (loads) => {
      const count = [...loads].length;
      if (count > 0) log.push(`unblock ${count}`);
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
    parking: undefined,
    waiting: 0,
    next: async (change = {}) => {
      const { work: inFlight, leaving, waiting } = it;
      const none = { waiting, due: 0 };
      const registered = [...it.workers.values()].filter((worker) => worker !== undefined).length;
      const counters = { taken: 0, completed: 0, failed: 0, cancelled: 0, retried: 0, serviceUs: 0 };
      const said = { workers: registered, leaving: leaving.size, counters };
      const parts = { ...none, ...said, inFlight, runnable: none, pausedQueues: 0 };
      const sample = parts as unknown as PoolSample;
      const { now, kept } = it;
      const sampled = { kind: 'known' as const, sample };
      const input = { policy, sampled, target, memory: seasoned, now, dryRun: false, drains, kept, identity };
      const made = await step({ ...input, unmanaged: 'WhenIdle', ...change });
      it.kept = made.kept;
      return made;
    },
  };
  return it;
}

function countsOf(members: readonly Member[]): ParkedCounts {
  const parked = members.filter(({ size }) => size === 'parked');
  const stuck = members.filter(({ size }) => size === 'stuck').length;
  return { parked: parked.length, ready: parked.filter(({ ready }) => ready).length, stuck };
}
