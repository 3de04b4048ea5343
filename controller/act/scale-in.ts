/**
 * One pass of a scale-in. It never lets a worker be shut down that holds a task, or could still get one:
 *
 *   choose ─▶ mark in Redis, unmark the others ─▶ who has acknowledged? ─▶ read again ─▶ remove exactly those
 *
 * The others acknowledge when they have finished their tasks, and are removed by a later pass. All state is in Redis and the
 * cluster, except how long a replica has been unregistered, so another controller can continue.
 *
 * A drained worker counts as acknowledged (its turns receive no tasks from the instant of the mark on, so this stays true), and
 * so does a replica that is neither ready nor registered: if it registers, it finds its mark. A ReplicaSet removes pods that are
 * not ready before it applies our choice, so no ready replica is removed while one that is not ready has not acknowledged.
 *
 * Watches may lag, so they are used only to choose and to mark, which is harmless. The removal is decided again, by the same
 * rules, on the API server's current state, and is written only if the Deployment has not changed since.
 *
 * A replica that is ready and stays unregistered is unmanaged: a plain worker, which pops tasks itself and cannot drain.
 */
import type { Unmanaged } from '../../kube/workerpool.ts';
import { drainWorkers, registeredWorkers, endWaits, type DrainOrder } from '../../queue/workers/drain.ts';
import type { WorkerLoad, WorkerLoads } from '../../queue/workers/worker-load.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import {
  goingAnyway,
  outcomeOf,
  planScaleIn,
  type Absent,
  type ScaleInOutcome,
  type ScaleInPlan,
} from './scale-in-plan.ts';
import { answered } from './answered.ts';
import type { Member, Members, Replicas, Target } from './target.ts';
import { workersOf, type MemberWorkers, type PoolIdentity } from './workers-of.ts';

/** The Redis operations of a scale-in. */
export interface Drains {
  /** All registered workers, and those of the `named` ones, the members', that are registered. */
  read(named: Iterable<string>, members: readonly Member[]): Promise<WorkerLoads>;
  /** Applies all orders atomically, and returns the workers as they were right after. */
  set(orders: ReadonlyMap<string, DrainOrder>): Promise<WorkerLoads>;
  /** Interrupts the waits of idle workers, so that they notice immediately. */
  endWaits(loads: Iterable<WorkerLoad>): Promise<void>;
  /** The words for members that have acknowledged, and for those that have not. */
  readonly terms?: { readonly done: string; readonly pending: string };
  /** Why no member can acknowledge, apart from known work; called after `set`. */
  held?(): ScaleInHold | undefined;
}

/** In the Redis of a pool's queues. */
export function drainsOf(redisOf: RedisOf, queues: readonly QueueKeys[]): Drains {
  // each server knows its own connections by their ids and names; queues may share a connection
  const servers = (): Set<ReturnType<RedisOf>> =>
    new Set(new Map(queues.map(redisOf).map((redis) => [redis.stream, redis] as const)).values());
  return {
    read: (named) => answered(registeredWorkers(redisOf, queues, named), 'the list of workers'),
    set: (orders) => answered(drainWorkers(redisOf, queues, orders), 'an order to workers'),
    endWaits: async (loads) => {
      const all = [...loads];
      const ending = Array.from(servers(), (redis) => endWaits(redis, all));
      await answered(Promise.all(ending), 'the end of a wait');
    },
  };
}

/** State from one pass to the next. */
export interface Passes {
  readonly absent: Absent;
  /** Since when the counts have differed, ms; `undefined` while they agree. */
  readonly mismatchedSince: number | undefined;
  /** The last read of the members, if it found that the counts differ. */
  readonly differing?: DifferingRead | undefined;
}

interface DifferingRead {
  /** ms. */
  readonly at: number;
  /** The members as they were cached then; `undefined` if the difference may end without a change of these. */
  readonly cached: string | undefined;
  readonly held: ScaleInHold | undefined;
}

export const noPasses: Passes = { absent: new Map(), mismatchedSince: undefined };

export interface ScaleInInput {
  readonly target: Target;
  readonly drains: Drains;
  readonly replicas: Replicas;
  /** `undefined` if workers have the ids of the members. */
  readonly identity: PoolIdentity | undefined;
  readonly desired: number;
  /** Nothing waits, and nothing is in flight. */
  readonly idle: boolean;
  readonly unmanaged: Unmanaged;
  readonly before: Passes;
  /** Members at the parked size stay marked, because others are at work. */
  readonly parkedRest?: boolean;
  /** ms. */
  readonly now: number;
}

/** Why a scale-in has to wait, apart from running tasks. */
export interface ScaleInHold {
  readonly reason: 'UnmanagedWorkers' | 'Rollout' | 'CountsDiffer' | 'HoldersUnknown';
  readonly message: string;
}

export interface ScaleInResult {
  /** The replicas that are requested now. */
  readonly to: number;
  /** `1 drained, 2 draining`; empty if there are neither. */
  readonly progress: string;
  readonly held: ScaleInHold | undefined;
  readonly passes: Passes;
  /** The next acknowledgement is expected after this many ms; `undefined` if none is awaited. */
  readonly requeueInMs: number | undefined;
}

/** An idle worker acknowledges within milliseconds. */
const SOON_MS = 100;
const LATER_MS = 1_000;
/** Counts are updated one after the other, so a difference is normal for this long. */
const COUNTING_MS = 10_000;
/**
 * The watches report changes, so members that show none are read again only when the difference has lasted as long again, between
 * these limits.
 */
const LEAST_REREAD_MS = 10_000;
const MOST_REREAD_MS = 60_000;

interface Pass extends ScaleInOutcome {
  readonly plan: ScaleInPlan;
  readonly registered: MemberWorkers;
  readonly loads: WorkerLoads;
}

/** Removes the members that may go now. Rejects if Redis or the target does not answer; nothing is lowered then. */
export async function scaleIn(input: ScaleInInput): Promise<ScaleInResult> {
  const { target, drains, replicas, before, now } = input;
  const again = { to: replicas.wanted, progress: '', held: undefined, passes: before, requeueInMs: LATER_MS };
  const cached = await target.members();
  let members = cached;
  // the watch may be out of date if the counts differ
  if (!members.fresh && !agree(members)) {
    const restMs = untilReread(before, cached, now);
    if (restMs > 0) return { ...again, held: before.differing?.held, requeueInMs: restMs };
    members = await target.members('fresh');
  }
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
  const mismatchedSince = plan.mismatch === undefined ? undefined : (before.mismatchedSince ?? now);
  const soon = waiting.some(({ id }) => aboutToDrain(pass.loads.get(id)));
  const awaited = waiting.length > 0 || plan.mismatch !== undefined;
  const isPersistent = mismatchedSince !== undefined && now - mismatchedSince >= COUNTING_MS;
  const held =
    heldBy(plan, input.unmanaged, isPersistent) ?? (waiting.length > 0 ? drains.held?.() : undefined);
  // a worker that leaves Redis ends a difference as well, which no watch reports
  const isReported = members.existing > members.all.length;
  const differing =
    plan.mismatch === undefined
      ? undefined
      : { at: now, held, cached: isReported ? textOf(cached) : undefined };
  return {
    to,
    progress: describeProgress(gone.length, waiting.length, drains.terms),
    held,
    passes: { absent: plan.absent, mismatchedSince, ...(differing && { differing }) },
    requeueInMs: !awaited ? undefined : soon ? SOON_MS : LATER_MS,
  };
}

/** Chooses, marks, and returns who has acknowledged. */
async function mark(input: ScaleInInput, members: Members): Promise<Pass> {
  const { drains, identity } = input;
  const registered = workersOf(members, await readLoads(drains, members), identity);
  const { desired, idle, unmanaged, now } = input;
  const seen = { ...registered, members, desired, idle, unmanaged, now, absent: input.before.absent };
  const plan = planScaleIn(seen);
  const parked = input.parkedRest ? members.all.filter(({ size }) => size === 'parked') : [];
  const idleParked = parked.filter(({ id }) => !registered.loads.get(id)?.inFlight);
  const marked = [...plan.doomed, ...plan.leaving, ...idleParked];
  const loads = await orderDrains(drains, members, registered, marked, identity);
  return { ...outcomeOf(seen, plan, loads), plan, registered, loads };
}

/** Marks exactly these members, and returns the load of each right after. */
export async function orderDrains(
  drains: Drains,
  members: Members,
  registered: MemberWorkers,
  leaving: readonly Member[],
  identity: PoolIdentity | undefined,
): Promise<WorkerLoads> {
  const orders = ordersFor(members.all, registered, leaving);
  return workersOf(members, await drains.set(orders), identity).loads;
}

/** Cancels all drains, except those of members whose removal can no longer be stopped. */
export async function cancelDrains({
  target,
  drains,
  identity,
}: Pick<ScaleInInput, 'target' | 'drains' | 'identity'>): Promise<void> {
  let members = await target.members();
  const going = members.all.some((member) => member.going);
  if (going && !members.fresh) members = await target.members('fresh');
  const doomed = goingAnyway(members.all, members.wanted);
  const registered = workersOf(members, await readLoads(drains, members), identity);
  await drains.set(ordersFor(members.all, registered, doomed));
  const kept = members.all.filter((member) => member.going && !doomed.includes(member));
  // otherwise the next reduction of replicas, perhaps a manual one, would remove these
  if (kept.length > 0) await target.keep(kept.map(({ id }) => id));
}

/** How long members whose counts differ need not be read again, ms; 0 or less if they are to be read now. */
function untilReread({ differing, mismatchedSince }: Passes, cached: Members, now: number): number {
  if (!differing || mismatchedSince === undefined) return 0;
  const { at, held } = differing;
  const isUnchanged = differing.cached === textOf(cached);
  if (!isUnchanged && held?.reason !== 'CountsDiffer') return 0;
  const lastedMs = isUnchanged ? Math.min(at - mismatchedSince, MOST_REREAD_MS) : 0;
  return at + Math.max(LEAST_REREAD_MS, lastedMs) - now;
}

function textOf({ wanted, existing, rollingOut, settled, all, ending }: Members): string {
  const each = all.map(({ id, ready }) => [id, ready]);
  return JSON.stringify([wanted, existing, rollingOut, settled, each, ending]);
}

function agree({ all, wanted, existing }: Members): boolean {
  return all.length === wanted && existing === wanted;
}

function ordersFor(
  members: readonly Member[],
  { idsOf }: MemberWorkers,
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

/** A worker that has not noticed its mark yet. */
export function unaware(load: WorkerLoad | undefined): WorkerLoad[] {
  return load && load.state !== 'draining' && load.state !== 'drained' ? [load] : [];
}

export function readLoads(drains: Drains, { all }: Members): Promise<WorkerLoads> {
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
  { rollout, mismatch, undrainable }: ScaleInPlan,
  unmanaged: Unmanaged,
  persistent: boolean,
): ScaleInHold | undefined {
  if (rollout)
    return {
      reason: 'Rollout',
      message: 'held while a rollout replaces the workers, because which of them would go cannot be chosen',
    };
  if (persistent && mismatch !== undefined)
    return {
      reason: 'CountsDiffer',
      message: `${mismatch}: replicas that cannot be identified stay until the counts agree`,
    };
  const [first] = undrainable;
  if (!first) return undefined;
  const who = `${undrainable.length === 1 ? `${first.id} is` : `${first.id} and ${undrainable.length - 1} more are`} ready but not registered in Redis and cannot drain`;
  const until =
    unmanaged === 'Never'
      ? 'scaling.scaleDown.unmanaged is Never'
      : 'held until nothing waits and nothing is in flight (scaling.scaleDown.unmanaged is WhenIdle)';
  return { reason: 'UnmanagedWorkers', message: `${who}: ${until}` };
}
