/**
 * One pass of a scale-in. It never lets a worker be shut down that holds a task, or could still get one:
 *
 *   choose ─▶ mark in Redis, and take the mark off others ─▶ who has acknowledged? ─▶ take exactly those away
 *
 * The rest acknowledge when they have finished what they run, and go with a later pass. Nothing is remembered that Redis
 * and the cluster do not know, but for how long a replica has been unregistered: another controller goes on from there.
 *
 * Acknowledged is a worker that is drained (its turns get nothing from the instant of the mark on, so this stays true), and
 * a replica that is neither ready nor registered: should it register, it finds its mark. A ReplicaSet takes what is not
 * ready before it looks at our choice, so no ready replica goes while one that is not ready has not acknowledged.
 *
 * A replica that is ready and stays unregistered is unmanaged: a plain worker, which pops tasks itself and cannot drain.
 */
import type { Redis } from 'ioredis';
import type { Unmanaged } from '../kube/workerpool.ts';
import { drainWorkers, rouse, type Verdict, type WorkerLoad, type WorkerLoads } from '../queue/drain.ts';
import type { QueueKeys } from '../queue/keys.ts';
import type { Member, Replicas, Target } from './target.ts';
import { chooseVictims } from './victims.ts';

/** What a scale-in needs of Redis. */
export interface Drains {
  /** Does to each worker as it is told, all at one instant, and returns them as they were right after. */
  set(verdicts: ReadonlyMap<string, Verdict>): Promise<WorkerLoads>;
  /** Ends the waits of idle workers, so that they notice at once. */
  rouse(loads: Iterable<WorkerLoad>): Promise<void>;
}

/** In the Redis of a pool's queues. */
export function drainsOf(redis: Redis, queues: readonly QueueKeys[]): Drains {
  return {
    set: (verdicts) => drainWorkers(redis, queues, verdicts),
    rouse: (loads) => rouse(redis, loads),
  };
}

/** Since when members are ready and not registered, ms: by member id. */
export type Absent = ReadonlyMap<string, number>;

export interface ShrinkInput {
  readonly target: Target;
  readonly drains: Drains;
  readonly replicas: Replicas;
  readonly desired: number;
  /** Nothing waits, and nothing is in flight. */
  readonly idle: boolean;
  readonly unmanaged: Unmanaged;
  readonly absent: Absent;
  /** ms. */
  readonly now: number;
}

/** Why a scale-in has to wait, beyond tasks that still run. */
export interface Held {
  readonly reason: 'UnmanagedWorkers' | 'Rollout';
  readonly message: string;
}

export interface Shrunk {
  /** Replicas that are asked for now. */
  readonly to: number;
  /** How far it has come, `1 drained, 2 draining`; empty when there is nothing to tell. */
  readonly progress: string;
  readonly held: Held | undefined;
  readonly absent: Absent;
  /** When somebody may have acknowledged, ms; `undefined` when nobody is waited for. */
  readonly lookInMs: number | undefined;
}

/** Ready for so long without being registered, a replica is a plain worker, ms. */
const UNMANAGED_MS = 5_000;
/** An idle worker acknowledges within milliseconds. */
const SOON_MS = 100;
const LATER_MS = 1_000;

/** Takes away what may go now. Rejects when Redis or the target does not answer; nothing is lowered then. */
export async function shrink(input: ShrinkInput): Promise<Shrunk> {
  const { target, drains, replicas, desired, idle, now } = input;
  const members = await target.members();
  const looked = await drains.set(new Map(members.map(({ id }) => [id, 'look'])));
  const absent = stillAbsent(members, looked, input.absent, now);
  const plain = new Set([...absent].filter(([, since]) => now - since >= UNMANAGED_MS).map(([id]) => id));
  const plainMayGo = input.unmanaged === 'Always' || (input.unmanaged === 'WhenIdle' && idle);

  const doomed = goingAnyway(members, replicas.wanted);
  const rest = members.filter((member) => !doomed.includes(member));
  // replicas that were asked for and never came can go unasked
  const unborn = Math.max(0, replicas.wanted - members.length);
  const inExcess = replicas.wanted - desired;
  const rollout = replicas.rollingOut && !idle;
  const chosen = rollout ? [] : chooseVictims(rest, looked, plain, inExcess - unborn);
  const leaving = chosen.filter(({ id }) => plainMayGo || !plain.has(id));

  const loads = await drains.set(verdictsOn(members, [...doomed, ...leaving]));
  const acknowledged = (member: Member): boolean => {
    const load = loads.get(member.id);
    if (load) return load.state === 'drained' && load.inFlight === 0;
    return !member.ready || plain.has(member.id);
  };
  const free = leaving.filter(acknowledged);
  // the ReplicaSet would take one of these instead
  const inTheWay = rest.some((member) => !member.ready && !free.includes(member));
  const gone = inTheWay ? free.filter((member) => !member.ready) : free;
  const waiting = leaving.filter((member) => !gone.includes(member));
  await drains.rouse(waiting.flatMap(({ id }) => unaware(loads.get(id))));

  const to = replicas.wanted - (rollout ? 0 : Math.min(unborn, inExcess)) - gone.length;
  if (to < replicas.wanted)
    await target.remove(
      [...doomed, ...gone].map(({ id }) => id),
      to,
    );
  const soon = waiting.some(({ id }) => loads.get(id)?.inFlight === 0);
  return {
    to,
    progress: words(gone.length, waiting.length),
    held: rollout
      ? rolloutHolds
      : heldBy(
          chosen.filter((member) => !leaving.includes(member)),
          input.unmanaged,
        ),
    absent,
    lookInMs: waiting.length === 0 ? undefined : soon ? SOON_MS : LATER_MS,
  };
}

/** Lets every worker go on that was to drain, but for those that nobody can save any more. */
export async function callOff({
  target,
  drains,
  replicas,
}: Pick<ShrinkInput, 'target' | 'drains' | 'replicas'>): Promise<void> {
  const members = await target.members();
  await drains.set(verdictsOn(members, goingAnyway(members, replicas.wanted)));
}

/** Those that were taken away already, and are only not gone yet: work that they got now would be cut off. */
function goingAnyway(members: readonly Member[], wanted: number): readonly Member[] {
  return members.filter(({ going }) => going).slice(0, Math.max(0, members.length - wanted));
}

function verdictsOn(members: readonly Member[], leaving: readonly Member[]): ReadonlyMap<string, Verdict> {
  return new Map(members.map((member) => [member.id, leaving.includes(member) ? 'leave' : 'stay']));
}

function stillAbsent(members: readonly Member[], loads: WorkerLoads, before: Absent, now: number): Absent {
  const missing = members.filter(({ id, ready }) => ready && !loads.has(id));
  return new Map(missing.map(({ id }) => [id, before.get(id) ?? now]));
}

/** A worker that has not noticed yet. */
function unaware(load: WorkerLoad | undefined): WorkerLoad[] {
  return load && load.state !== 'draining' && load.state !== 'drained' ? [load] : [];
}

function words(drained: number, draining: number): string {
  const parts = [drained > 0 ? `${drained} drained` : '', draining > 0 ? `${draining} draining` : ''];
  return parts.filter((part) => part !== '').join(', ');
}

const rolloutHolds: Held = {
  reason: 'Rollout',
  message: 'held while a rollout replaces the workers, because there is no saying which would go',
};

function heldBy(members: readonly Member[], unmanaged: Unmanaged): Held | undefined {
  const [first] = members;
  if (!first) return undefined;
  const who = `${members.length === 1 ? `${first.id} is` : `${first.id} and ${members.length - 1} more are`} ready but not registered in Redis and cannot drain`;
  const until =
    unmanaged === 'Never'
      ? 'scaling.scaleDown.unmanaged is Never'
      : 'held until nothing waits and nothing is in flight (scaling.scaleDown.unmanaged is WhenIdle)';
  return { reason: 'UnmanagedWorkers', message: `${who}: ${until}` };
}
