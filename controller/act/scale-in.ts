/**
 * One pass of a scale-in. It never lets a worker be shut down that holds a task, or could still get one:
 *
 *   choose ─▶ mark in Redis, and take the mark off others ─▶ who has acknowledged? ─▶ look again ─▶ take exactly those away
 *
 * The rest acknowledge when they have finished what they run, and go with a later pass. Nothing is remembered that Redis
 * and the cluster do not know, but for how long a replica has been unregistered: another controller goes on from there.
 *
 * Acknowledged is a worker that is drained (its turns get nothing from the instant of the mark on, so this stays true), and
 * a replica that is neither ready nor registered: should it register, it finds its mark. A ReplicaSet takes what is not
 * ready before it looks at our choice, so no ready replica goes while one that is not ready has not acknowledged.
 *
 * Watches may be late, so they serve to choose and to mark, which harms nobody. What is taken away is decided once more, by the
 * same rules, on what the API server says at that moment, and is written only if the Deployment is still as it was then.
 *
 * A replica that is ready and stays unregistered is unmanaged: a plain worker, which pops tasks itself and cannot drain.
 */
import type { Redis } from 'ioredis';
import type { Unmanaged } from '../../kube/workerpool.ts';
import { drainWorkers, registeredWorkers, endWaits, type DrainOrder } from '../../queue/workers/drain.ts';
import type { WorkerLoad, WorkerLoads } from '../../queue/workers/worker-load.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import {
  goingAnyway,
  outcomeOf,
  planScaleIn,
  type Absent,
  type ScaleInOutcome,
  type ScaleInPlan,
} from './scale-in-plan.ts';
import type { Member, Members, Replicas, Target } from './target.ts';
import { workersOf, type Manned, type Whose } from './workers-of.ts';

/** What a scale-in needs of Redis. */
export interface Drains {
  /** All workers that are registered, and `named` ones, the members'. Those that are not registered have no entry. */
  read(named: Iterable<string>, members: readonly Member[]): Promise<WorkerLoads>;
  /** Does to each worker as it is told, all at one instant, and returns them as they were right after. */
  set(orders: ReadonlyMap<string, DrainOrder>): Promise<WorkerLoads>;
  /** Ends the waits of idle workers, so that they notice at once. */
  endWaits(loads: Iterable<WorkerLoad>): Promise<void>;
  /** What members are called that have acknowledged, and those that have not. */
  readonly terms?: { readonly done: string; readonly pending: string };
  /** Why nobody can acknowledge, beyond work that is seen; asked after `set`. */
  held?(): ScaleInHold | undefined;
}

/** In the Redis of a pool's queues. */
export function drainsOf(redis: Redis, queues: readonly QueueKeys[]): Drains {
  return {
    read: (named) => registeredWorkers(redis, queues, named),
    set: (orders) => drainWorkers(redis, queues, orders),
    endWaits: (loads) => endWaits(redis, loads),
  };
}

/** What is remembered from one pass to the next. */
export interface Passes {
  readonly absent: Absent;
  /** Since when the counts have not agreed, ms; `undefined` while they do. */
  readonly doubtedSince: number | undefined;
}

export const noPasses: Passes = { absent: new Map(), doubtedSince: undefined };

export interface ScaleInInput {
  readonly target: Target;
  readonly drains: Drains;
  readonly replicas: Replicas;
  /** `undefined` where workers are called as the members are. */
  readonly whose: Whose | undefined;
  readonly desired: number;
  /** Nothing waits, and nothing is in flight. */
  readonly idle: boolean;
  readonly unmanaged: Unmanaged;
  readonly before: Passes;
  /** ms. */
  readonly now: number;
}

/** Why a scale-in has to wait, beyond tasks that still run. */
export interface ScaleInHold {
  readonly reason: 'UnmanagedWorkers' | 'Rollout' | 'CountsDiffer' | 'HoldersUnknown';
  readonly message: string;
}

export interface ScaleInResult {
  /** Replicas that are asked for now. */
  readonly to: number;
  /** How far it has come, `1 drained, 2 draining`; empty when there is nothing to tell. */
  readonly progress: string;
  readonly held: ScaleInHold | undefined;
  readonly passes: Passes;
  /** When somebody may have acknowledged, ms; `undefined` when nobody is waited for. */
  readonly requeueInMs: number | undefined;
}

/** An idle worker acknowledges within milliseconds. */
const SOON_MS = 100;
const LATER_MS = 1_000;
/** Counts are made one after the other: for so long it is no news that they differ, ms. */
const COUNTING_MS = 10_000;

interface Pass extends ScaleInOutcome {
  readonly plan: ScaleInPlan;
  readonly manned: Manned;
  readonly loads: WorkerLoads;
}

/** Takes away what may go now. Rejects when Redis or the target does not answer; nothing is lowered then. */
export async function scaleIn(input: ScaleInInput): Promise<ScaleInResult> {
  const { target, drains, replicas, before, now } = input;
  const again = { to: replicas.wanted, progress: '', held: undefined, passes: before, requeueInMs: LATER_MS };
  let members = await target.members();
  // what a watch has may be worth little when the counts say otherwise
  if (!members.fresh && !agree(members)) members = await target.members('fresh');
  if (members.wanted !== replicas.wanted || !members.settled) return again;
  let pass = await mark(input, members);
  if (pass.to < members.wanted && !members.fresh) {
    members = await target.members('fresh');
    if (members.wanted !== replicas.wanted || !members.settled) return again;
    pass = await mark(input, members);
  }
  const { plan, gone, waiting, to } = pass;
  await drains.endWaits(waiting.flatMap((member) => unaware(pass.loads.get(member.id))));
  if (to < members.wanted) {
    const ids = [...plan.doomed, ...gone].map(({ id }) => id);
    if (!(await target.remove(ids, to))) return { ...again, requeueInMs: SOON_MS };
  }
  const doubtedSince = plan.doubt === undefined ? undefined : (before.doubtedSince ?? now);
  const soon = waiting.some(({ id }) => aboutToDrain(pass.loads.get(id)));
  const awaited = waiting.length > 0 || plan.doubt !== undefined;
  return {
    to,
    progress: describeProgress(gone.length, waiting.length, drains.terms),
    held:
      heldBy(plan, input.unmanaged, doubtedSince !== undefined && now - doubtedSince >= COUNTING_MS) ??
      (waiting.length > 0 ? drains.held?.() : undefined),
    passes: { absent: plan.absent, doubtedSince },
    requeueInMs: !awaited ? undefined : soon ? SOON_MS : LATER_MS,
  };
}

/** Chooses, marks, and returns who has acknowledged. */
async function mark(input: ScaleInInput, members: Members): Promise<Pass> {
  const { drains, whose } = input;
  const manned = workersOf(members, await readLoads(drains, members), whose);
  const { desired, idle, unmanaged, now } = input;
  const seen = { ...manned, members, desired, idle, unmanaged, now, absent: input.before.absent };
  const plan = planScaleIn(seen);
  const orders = ordersFor(members.all, manned, [...plan.doomed, ...plan.leaving]);
  const { loads } = workersOf(members, await drains.set(orders), whose);
  return { ...outcomeOf(seen, plan, loads), plan, manned, loads };
}

/** Lets every worker go on that was to drain, but for those that nobody can save any more. */
export async function callOff({
  target,
  drains,
  whose,
}: Pick<ScaleInInput, 'target' | 'drains' | 'whose'>): Promise<void> {
  let members = await target.members();
  const going = members.all.some((member) => member.going);
  if (going && !members.fresh) members = await target.members('fresh');
  const doomed = goingAnyway(members.all, members.wanted);
  const manned = workersOf(members, await readLoads(drains, members), whose);
  await drains.set(ordersFor(members.all, manned, doomed));
  const kept = members.all.filter((member) => member.going && !doomed.includes(member));
  // else whoever lowers the replicas next, by hand perhaps, takes these
  if (kept.length > 0) await target.keep(kept.map(({ id }) => id));
}

function agree({ all, wanted, existing }: Members): boolean {
  return all.length === wanted && existing === wanted;
}

function ordersFor(
  members: readonly Member[],
  { idsOf }: Manned,
  leaving: readonly Member[],
): ReadonlyMap<string, DrainOrder> {
  return new Map(
    members.flatMap((member) =>
      idsOf(member).map((id): [string, DrainOrder] => [id, leaving.includes(member) ? 'leave' : 'stay']),
    ),
  );
}

function aboutToDrain(load: WorkerLoad | undefined): boolean {
  return load?.inFlight === 0 && load.state !== 'drained';
}

/** A worker that has not noticed yet. */
function unaware(load: WorkerLoad | undefined): WorkerLoad[] {
  return load && load.state !== 'draining' && load.state !== 'drained' ? [load] : [];
}

function readLoads(drains: Drains, { all }: Members): Promise<WorkerLoads> {
  const ids = all.map(({ id }) => id);
  return drains.read(ids, all);
}

function describeProgress(
  drained: number,
  draining: number,
  { done, pending } = { done: 'drained', pending: 'draining' },
): string {
  const parts = [drained > 0 ? `${drained} ${done}` : '', draining > 0 ? `${draining} ${pending}` : ''];
  return parts.filter((part) => part !== '').join(', ');
}

function heldBy(
  { rollout, doubt, unasked }: ScaleInPlan,
  unmanaged: Unmanaged,
  doubted: boolean,
): ScaleInHold | undefined {
  if (rollout)
    return {
      reason: 'Rollout',
      message: 'held while a rollout replaces the workers, because there is no saying which would go',
    };
  if (doubted && doubt !== undefined)
    return { reason: 'CountsDiffer', message: `${doubt}: what is not known stays until they agree` };
  const [first] = unasked;
  if (!first) return undefined;
  const who = `${unasked.length === 1 ? `${first.id} is` : `${first.id} and ${unasked.length - 1} more are`} ready but not registered in Redis and cannot drain`;
  const until =
    unmanaged === 'Never'
      ? 'scaling.scaleDown.unmanaged is Never'
      : 'held until nothing waits and nothing is in flight (scaling.scaleDown.unmanaged is WhenIdle)';
  return { reason: 'UnmanagedWorkers', message: `${who}: ${until}` };
}
