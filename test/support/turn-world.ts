/** The steps of the histories of test/redis/turn-model.test.ts: what may happen to a queue and to two workers. */
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import { cancelTask } from '../../queue/cancel.ts';
import { deadHeader } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { adopt, type AdoptRequest } from '../../queue/workers/adopt.ts';
import { reap } from '../../queue/workers/reap.ts';
import { register } from '../../queue/workers/register.ts';
import { turn, type Delivery, type TurnRequest } from '../../queue/workers/turn.ts';
import { withoutSeen } from '../../worker/epoch/state.ts';
import { snapshot } from './snapshot.ts';
import { nothing } from './turns.ts';

/** The state of a worker's process, which a crash loses. */
export interface Process {
  epoch: number;
  turns: number;
  seen: number;
  heard: number;
  held: Delivery[];
  /** Sent, and no reply came. */
  unanswered: TurnRequest | undefined;
  /** What it knew when it began to wait, until its wait ends. */
  waiting: Pick<AdoptRequest, 'turn' | 'heard' | 'seen'> | undefined;
  /** A task came by its wait of which it does not know. */
  unseen: boolean;
}

export interface World {
  readonly keys: QueueKeys;
  readonly workers: Map<string, Process>;
  /** Tasks of this content that were enqueued. */
  readonly enqueued: Map<string, number>;
  /** Results that were confirmed to workers, by content. */
  readonly finished: Map<string, number>;
  /** Marks that no worker has met yet. */
  readonly marks: Set<string>;
  /** Tasks that were settled as cancelled, by content. */
  readonly cancelled: Map<string, number>;
  /** The server and these counts as they were after each step, the newest last. */
  readonly past: Moment[];
}

interface Moment {
  readonly restore: () => Promise<void>;
  readonly counts: Pick<World, 'enqueued' | 'finished' | 'marks' | 'cancelled'>;
}

export type Step =
  /** The server goes back by this many steps, unnoticed by the workers. */
  | { readonly kind: 'forget'; readonly steps: number }
  | { readonly kind: 'cancel'; readonly task: string }
  | { readonly kind: 'enqueue'; readonly task: string; readonly delayed: boolean }
  | {
      readonly kind:
        | 'begin'
        | 'crash'
        | 'leave'
        | 'expire'
        | 'displace'
        | 'block'
        | 'repeat'
        | 'stale'
        | 'wait';
      readonly worker: string;
    }
  /** Its wait ends with a task, if there is one. */
  | { readonly kind: 'adopt'; readonly worker: string; readonly replyLost: boolean }
  | {
      readonly kind: 'turn';
      readonly worker: string;
      readonly want: number;
      /** Suspects that it takes together, where it may; 1 when left out. */
      readonly together?: number;
      /** What becomes of the held tasks, from the oldest on; tasks without a word stay held. */
      readonly settle: readonly ('result' | 'retry' | 'dead' | 'release' | 'cancelled')[];
      readonly replyLost: boolean;
    };

/** Notes how all is now, so that a later step can go back to it. */
export async function remember(redis: Redis, { keys, past, ...world }: World): Promise<void> {
  const { enqueued, finished, marks, cancelled } = world;
  const counts = structuredClone({ enqueued, finished, marks, cancelled });
  past.push({ restore: await snapshot(redis, keys, ['one', 'two']), counts });
}

async function forget({ past, ...world }: World, steps: number): Promise<void> {
  past.splice(Math.max(1, past.length - steps));
  const moment = past.at(-1);
  if (!moment) return;
  await moment.restore();
  const counts = structuredClone(moment.counts);
  for (const name of ['enqueued', 'finished', 'cancelled'] as const) {
    world[name].clear();
    for (const [task, times] of counts[name]) world[name].set(task, times);
  }
  world.marks.clear();
  for (const mark of counts.marks) world.marks.add(mark);
}

/** Executes one step, in Redis and in the state of the workers. */
export async function take(redis: Redis, next: Step, world: World): Promise<void> {
  const { keys, workers } = world;
  if (next.kind === 'forget') return forget(world, next.steps);
  if (next.kind === 'enqueue') {
    await redis.lpush(keys.queue, next.task);
    if (next.delayed) {
      const raw = await redis.lpop(keys.queue);
      const nonce = Math.random().toString(36).slice(2);
      await redis.zadd(keys.delayed, 1, `${nonce}|0|0|${raw ?? ''}`);
    }
    world.enqueued.set(next.task, (world.enqueued.get(next.task) ?? 0) + 1);
    return;
  }
  if (next.kind === 'cancel') {
    if ((await cancelTask(redis, keys, next.task)) === 'marked') world.marks.add(next.task);
    return;
  }
  const process = workers.get(next.worker);
  switch (next.kind) {
    case 'begin': {
      // a new process has no state of what its name held before
      await reap(redis, keys, next.worker, 'any', 'lost');
      await reap(redis, keys, next.worker, 'any', 'leave');
      const epoch = await register(redis, keys, next.worker, 60_000, {});
      if (epoch === undefined) throw new Error('a name whose remains were reaped could not be registered');
      const fresh = { turns: 0, seen: 0, heard: 0, held: [], unseen: false };
      workers.set(next.worker, { epoch, ...fresh, unanswered: undefined, waiting: undefined });
      return;
    }
    case 'crash':
      workers.delete(next.worker);
      return;
    case 'leave':
      if (process) await reap(redis, keys, next.worker, process.epoch, 'leave');
      workers.delete(next.worker);
      return;
    case 'expire':
      if (await redis.zscore(keys.workers, next.worker)) await redis.zadd(keys.workers, 1, next.worker);
      await reap(redis, keys, next.worker, 'expired', 'lost');
      return;
    case 'displace': {
      // the controller saw its end, and that no connection of it lives
      const epoch = await redis.hget(keys.worker(next.worker), 'epoch');
      if (epoch) await reap(redis, keys, next.worker, Number(epoch), 'displaced', 0);
      return;
    }
    case 'block':
      await redis.lmove(keys.queue, keys.wake(next.worker), 'RIGHT', 'LEFT');
      // a move may outlive its worker only as long as the grave lasts: without a name, it has to be checked
      if ((await redis.zscore(keys.workers, next.worker)) === null)
        await redis.zadd(keys.workers, 1, next.worker);
      return;
    case 'wait':
      if (process && !process.unanswered) process.waiting = knownTo(process);
      return;
    case 'adopt':
      if (process) await adoptTask(redis, world, next, process);
      return;
    case 'repeat':
      if (process?.unanswered) await send(redis, world, next.worker, process, process.unanswered, false);
      return;
    case 'stale':
      if (process && process.turns > 1) await refuseStale(redis, world, next.worker, process);
      return;
    case 'turn':
      if (!process) return;
      if (process.unanswered) await send(redis, world, next.worker, process, process.unanswered, false);
      if (workers.has(next.worker))
        await send(redis, world, next.worker, process, compose(next, process), next.replyLost);
  }
}

function knownTo({ turns, heard, seen }: Process): Pick<AdoptRequest, 'turn' | 'heard' | 'seen'> {
  return { turn: turns, heard, seen };
}

async function adoptTask(
  redis: Redis,
  { keys }: World,
  { worker, replyLost }: Extract<Step, { kind: 'adopt' }>,
  process: Process,
): Promise<void> {
  const known = process.waiting ?? (process.unanswered ? undefined : knownTo(process));
  if (!known) return;
  process.waiting = undefined;
  await redis.lmove(keys.queue, keys.wake(worker), 'RIGHT', 'LEFT');
  const adopted = await adopt(redis, keys, { worker, epoch: process.epoch, ...known });
  if (!adopted || adopted === 'unknown') return;
  if (replyLost || adopted.counter !== process.seen + 1) {
    process.unseen = true;
    return;
  }
  process.held.push(adopted.delivery);
  process.seen = adopted.counter;
}

function compose(
  { worker: id, want, together = 1, settle }: Extract<Step, { kind: 'turn' }>,
  process: Process,
): TurnRequest {
  const settled = process.held.slice(0, settle.length).map((delivery, i) => ({ delivery, fate: settle[i] }));
  const of = (fate: string): Delivery[] =>
    settled.filter((entry) => entry.fate === fate).map(({ delivery }) => delivery);
  return {
    worker: id,
    epoch: process.epoch,
    turn: ++process.turns,
    seen: process.seen,
    heard: process.heard,
    holds: process.held.length,
    want,
    together,
    leaseMs: 6e4,
    state: 'busy',
    settled: {
      results: of('result').map(({ receipt, raw }) => ({
        receipt,
        id: raw,
        value: 'done',
      })),
      retries: of('retry').map(({ receipt, past }) => ({
        receipt,
        delayMs: 0,
        past: {
          ...past,
          attempts: past.attempts + 1,
        },
      })),
      dead: of('dead').map(({ receipt, raw, past }) => ({
        receipt,
        id: raw,
        header: deadHeader({
          error: 'no',
          attempts: past.attempts + 1,
          worker: id,
        }),
      })),
      released: of('release').map(({ receipt }) => receipt),
      cancelled: of('cancelled').map(({ receipt, raw }) => ({
        receipt,
        id: raw,
        header: deadHeader({ error: 'cancelled', attempts: 0, worker: id, cancelled: true }),
      })),
      serviceUs: 0,
    },
  };
}

async function send(
  redis: Redis,
  world: World,
  id: string,
  process: Process,
  request: TurnRequest,
  replyLost: boolean,
): Promise<void> {
  const [epoch, last, seq] = await redis.hmget(world.keys.worker(id), 'epoch', 'turn', 'seq');
  const repeated = Number(last) === request.turn;
  // a worker ahead of the server is fenced there
  const next = Number(last) === request.turn - 1 && request.seen <= Number(seq);
  const known = Number(epoch) === request.epoch && (repeated || next);
  const reply = await turn(redis, world.keys, request);
  expect(reply.kind).toBe(known ? 'held' : 'fenced');
  if (reply.kind === 'fenced') {
    if (!replyLost) world.workers.delete(id);
    else process.unanswered = request;
    return;
  }
  if (!repeated) note(world, request);
  process.unanswered = replyLost ? request : undefined;
  if (replyLost) return;
  const { results, retries, dead, released, cancelled } = request.settled;
  const gone = new Set([
    ...[...results, ...retries, ...dead, ...cancelled].map(({ receipt }) => receipt),
    ...released,
  ]);
  const { tasks } = withoutSeen(process, reply);
  process.held = [...process.held.filter(({ receipt }) => !gone.has(receipt)), ...tasks];
  process.unseen = false;
  process.seen = Math.max(process.seen, reply.seen);
  process.heard = reply.madeAt;
}

/** The effects of an executed turn on results and marks: the first one wins. */
function note({ finished, marks, cancelled }: World, { settled }: TurnRequest): void {
  const count = (counts: Map<string, number>, task: string): unknown =>
    counts.set(task, (counts.get(task) ?? 0) + 1);
  for (const { id } of settled.results) {
    count(finished, String(id));
    marks.delete(String(id));
  }
  for (const { id } of settled.dead) marks.delete(String(id));
  for (const { id } of settled.cancelled) if (marks.delete(String(id))) count(cancelled, String(id));
}

/** A packet that was long on its way: the turn before the last one that was answered, once more. */
async function refuseStale(
  redis: Redis,
  { keys, workers }: World,
  id: string,
  process: Process,
): Promise<void> {
  const answered = process.unanswered ? process.turns - 1 : process.turns;
  if (answered < 2) return;
  const { epoch, seen } = process;
  const request = {
    worker: id,
    epoch,
    turn: answered - 1,
    seen,
    want: 4,
    leaseMs: 1,
    state: 'old',
    settled: nothing,
  };
  const outcome = await turn(redis, keys, request).catch((error: Error) => error.message);
  if (typeof outcome !== 'string') {
    expect(outcome).toEqual({ kind: 'fenced' });
    workers.delete(id);
  } else expect(outcome).toMatch(/^STALE/);
}
