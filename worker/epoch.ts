/**
 * One epoch of a worker: from its registration to a clean goodbye, or to the moment when it learns that it was fenced.
 *
 * The loop alternates between two things: start tasks in free slots, and make a turn (queue/turn.lua) that settles
 * what finished and takes more. One turn is on its way at a time; handlers run on meanwhile. A turn whose reply was
 * lost is repeated as it was, so a result is written once and no task is taken unseen.
 *
 *   starting ──registered──▶ idle ◀──▶ busy ──stop or drain──▶ draining ──nothing held──▶ drained
 *
 * When it drains, it takes nothing more, hands back what it has not begun and finishes what it runs. When it is told
 * to hurry, running tasks get an AbortSignal and go back to the queue for others.
 */
import type { Redis } from 'ioredis';
import { TaskCancelled } from '../queue/cancel.ts';
import type { QueueKeys } from '../queue/keys.ts';
import type { Durability } from '../queue/durability.ts';
import { note, reap } from '../queue/scripts.ts';
import { turn, type Delivery } from '../queue/turn.ts';
import { systemClock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { createCancelCheck } from './cancel.ts';
import { createBell } from './bell.ts';
import { createIdleWait, createPace, holdTarget } from './fetch.ts';
import type { LeaseKeeper } from './lease.ts';
import type { QueueMetrics } from './metrics.ts';
import { createDurable } from './durable.ts';
import { createPatience } from './patience.ts';
import { createProgressOutbox } from './progress.ts';
import { createReaper } from './reaper.ts';
import { runTask, type Finished, type RunDeps } from './run.ts';
import { createBatch } from './settle.ts';
import type { Lane, Slots } from './slots.ts';

export interface EpochOptions {
  readonly redis: Redis;
  /** A connection of its own for the blocking move. */
  readonly blocker: Redis;
  readonly keys: QueueKeys;
  readonly worker: string;
  readonly slots: Slots;
  /** Of this queue among the worker's; 0 goes first. */
  readonly rank: number;
  readonly leaseMs: number;
  /** Renews the lease while a handler blocks the event loop; without it, such a worker loses its lease. */
  readonly keeper: LeaseKeeper | undefined;
  readonly run: RunDeps;
  /** Wait for replicas after each turn that settled something. */
  readonly durability: Durability | undefined;
  readonly log: Logger;
  readonly metrics: QueueMetrics;
  /** Begin to drain, and leave when nothing is held. */
  readonly stopping: AbortSignal;
  /** Give back what still runs. */
  readonly hurry: AbortSignal;
}

const isSuspect = (delivery: Delivery | undefined): boolean => (delivery?.past.deliveries ?? 0) > 0;

/** Nothing that finished waits longer than this for company, ms. */
const LINGER_MS = 2;
const FULL_BATCH = 128;
/** What was taken ahead and not begun after this goes back, ms. */
const STALE_MS = 250;
/** So long handlers that answer at once have the thread to themselves, ms. */
const SPELL_MS = 2;
/** A worker looks in this often: for tasks that fell due, whether it is to drain, and what was cancelled. */
const TURN_MS = 1_000;
/** One that drains must hear soon that the controller has changed its mind. */
const DRAINING_TURN_MS = 250;
/** After `hurry`, what obeys its AbortSignal has this long to end. */
const ABORT_PATIENCE_MS = 1_000;

interface Run {
  /** Resolves when the handler has ended, however. */
  readonly ended: Promise<void>;
  readonly delivery: Delivery;
  readonly abort: AbortController;
  readonly started: number;
}

/** Runs one epoch. Resolves to `left` after a clean goodbye, or to `fenced`. */
export async function runEpoch(epoch: number, options: EpochOptions): Promise<'left' | 'fenced'> {
  const { redis, keys, worker, slots, leaseMs, log, metrics, stopping, hurry } = options;
  const running = new Map<string, Run>();
  const batch = createBatch(worker);
  const pace = createPace();
  const bell = createBell();
  let held: { readonly delivery: Delivery; readonly since: number }[] = []; // taken, not begun
  let turns = 0;
  let seen = 0;
  let told = false; // the controller asks to drain
  let paused = false; // the queue is: nothing is taken from it
  let said = ''; // the state that Redis knows
  let over = false;
  let ask = true; // there may be tasks that nobody told us of
  let more = false; // there were tasks in the queue after the last turn
  let woken = false; // one may be in our wake list: adopt it, or hand it back, but do not leave it there
  let refusal: string | undefined; // why nothing can be taken
  let lastTurn = -Infinity;
  let lastFinish = -Infinity;
  let refill: NodeJS.Immediate | undefined;
  let lookedAt = -Infinity;
  let dueAt = Infinity;
  let apart = false; // nothing more is given to us until we hold nothing: see turn.lua on suspects
  const idle = createIdleWait(options.blocker, redis, keys, worker, {
    onTask: () => {
      woken = true;
      bell.ring();
    },
    // by this id the controller can end the wait; without it, it takes a second
    onConnection: (id) => void note(redis, keys, worker, epoch, 'blocker', id).catch(() => undefined),
  });
  const patience = createPatience({
    hurry,
    lastMs: 2 * ABORT_PATIENCE_MS,
    longestPauseMs: Math.min(2_000, leaseMs / 3),
    log,
  });

  const cancels = createCancelCheck(redis, keys, (send) => patience.repeat(send));
  using progress = createProgressOutbox({ redis, keys, worker, epoch });

  const reapOthers = createReaper({ redis, keys, worker, leaseMs, log });
  const durable = createDurable({ redis, durability: options.durability, log, metrics });

  const draining = (): boolean => told || stopping.aborted;
  const state = (): string => {
    // while a move is blocked in Redis, a task may still come
    if (draining()) return running.size + held.length === 0 && !idle.waiting ? 'drained' : 'draining';
    return running.size > 0 ? 'busy' : 'idle';
  };

  const lane: Lane = {
    rank: options.rank,
    get held() {
      return held.length;
    },
    get curious() {
      return (ask || more) && !draining() && !paused && !apart && !refusal;
    },
    get apart() {
      return apart;
    },
    get lookedAt() {
      return draining() || refusal || paused || apart ? Infinity : lookedAt;
    },
    fill,
    look: () => {
      ask = true;
      bell.ring();
    },
    nudge: () => bell.ring(),
    guard: () => options.keeper?.begin(epoch),
  };

  /** Begins what is held, as far as there are slots; handlers that answer at once give way to all else now and then. */
  function fill(): void {
    if (over || draining() || paused) return;
    const began = performance.now();
    while (held.length > 0 && slots.free > 0 && slots.mayTake(lane)) {
      // a suspect waits for what runs of other queues
      if (apart && slots.free < slots.usable && isSuspect(held[0]?.delivery)) return;
      begin(held.shift()?.delivery as Delivery);
      if (lastFinish - began < SPELL_MS) continue;
      refill ??= setImmediate(() => {
        refill = undefined;
        fill();
      });
      return;
    }
  }

  function begin(delivery: Delivery): void {
    const abort = new AbortController();
    const { receipt } = delivery;
    const started = performance.now();
    const run = runTask(delivery, abort.signal, started, options.run, progress);
    if (!(run instanceof Promise)) {
      finish(run);
      return;
    }
    slots.occupy();
    const ended = run.then((finished) => {
      running.delete(receipt);
      if (over) return;
      finish(finished);
      slots.release();
    });
    running.set(receipt, { ended, delivery, abort, started });
  }

  function finish(finished: Finished): void {
    const { outcome, serviceMs, delivery } = finished;
    lastFinish = performance.now();
    pace.finished(serviceMs, delivery.raw.length);
    metrics.finished(outcome.kind, serviceMs / 1_000);
    if (outcome.kind === 'retry' || outcome.kind === 'dead')
      log.warn(
        { task: finished.id.toString().slice(0, 100), attempt: finished.attempt, outcome },
        'a task failed',
      );
    const first = batch.since === undefined;
    batch.add(finished, lastFinish);
    if (first || batch.size === FULL_BATCH || (held.length === 0 && slots.free > 0)) bell.ring();
  }

  const target = (): number => holdTarget(slots.usable, pace);

  /** How long until a turn is due, ms; 0 for now. */
  function turnIn(now: number): number {
    if (batch.size > 0) {
      if (batch.size >= FULL_BATCH || draining() || (slots.free > 0 && held.length === 0)) return 0;
      return Math.max(0, (batch.since ?? now) + LINGER_MS - now);
    }
    const half = slots.holding <= target() / 2;
    const wanted = ask && !draining() && (slots.free > 0 || half);
    // what cannot be run goes back at once; a queue above is looked at first, for the moment that this takes
    if (woken && (slots.free === 0 || draining())) return 0;
    if ((woken || wanted) && slots.mayTake(lane)) return 0;
    if (draining() && said !== state()) return 0;
    const pause = Math.min(draining() ? DRAINING_TURN_MS : TURN_MS, leaseMs / 3);
    return Math.max(0, Math.min(lastTurn + pause, draining() ? Infinity : dueAt) - now);
  }

  async function makeTurn(): Promise<boolean> {
    // half at a time where tasks are many: Redis makes one half ready while the other one runs
    const most = Math.max(slots.usable, Math.ceil(target() / 2));
    const after = !slots.mayTake(lane); // what is above goes first
    const later = after || draining() || (held.length > 0 && slots.holding > target() / 2);
    const want = later ? 0 : Math.max(0, Math.min(target() - slots.holding, most));
    const settling = batch.size;
    ask = false;
    woken = false;
    const request = {
      worker,
      epoch,
      turn: ++turns,
      seen,
      want,
      leaseMs,
      state: state(),
      settled: batch.take(),
    };
    const reply = await patience.repeat(() => turn(redis, keys, request));
    if (reply?.kind === 'held') await durable(settling);
    lastTurn = performance.now();
    if (reply === undefined || reply.kind === 'fenced') return false;
    seen = reply.seen;
    said = request.state;
    const back = told && !reply.drain;
    told = reply.drain;
    paused = reply.paused;
    dueAt = reply.dueInMs === undefined ? Infinity : lastTurn + reply.dueInMs;
    const refused = typeof reply.length === 'string' ? reply.length : undefined;
    if (refused && refused !== refusal) log.error(`cannot take tasks from "${keys.queue}": ${refused}`);
    refusal = refused;
    more = Number(reply.length) > 0;
    apart = reply.apart;
    ask = more && (want > 0 || after || back) && !paused && !apart;
    lookedAt = lastTurn;
    options.keeper?.renewed(slots.holding + reply.tasks.length === 0 && slots.free === slots.usable);
    if (reply.tasks.length > 0) slots.taken();
    metrics.taken(reply.tasks.length);
    const marked = await cancels.marked(reply, () =>
      [...running.values(), ...held].map((had) => had.delivery),
    );
    for (const delivery of reply.tasks) held.push({ delivery, since: lastTurn });
    if (marked?.size) dropCancelled(marked);
    slots.looked(lane);
    return true;
  }

  /** What runs is aborted, and settled when it ends; what was not begun is not run. */
  function dropCancelled(marked: ReadonlyMap<string, string | Buffer>): void {
    log.info({ tasks: marked.size }, 'cancelled');
    for (const [receipt, id] of marked) running.get(receipt)?.abort.abort(new TaskCancelled(id));
    for (const { delivery } of held) {
      const id = marked.get(delivery.receipt);
      if (id !== undefined) batch.cancel(delivery, id, performance.now());
    }
    held = held.filter(({ delivery }) => !marked.has(delivery.receipt));
  }

  function handBack(): void {
    const [oldest] = held;
    if (!oldest) return;
    const waits = performance.now() - oldest.since <= STALE_MS || isSuspect(oldest.delivery);
    if (waits && !draining() && !paused) return;
    for (const { started } of running.values()) pace.atLeast(performance.now() - started);
    batch.release(
      held.map(({ delivery }) => delivery.receipt),
      performance.now(),
    );
    held = [];
  }

  async function loop(): Promise<'left' | 'fenced'> {
    for (;;) {
      handBack();
      if (draining()) idle.pause();
      if (stopping.aborted && running.size === 0 && batch.size === 0) return 'left';
      if (hurry.aborted) {
        await giveUp();
        return 'left';
      }
      const now = performance.now();
      if (turnIn(now) === 0) {
        const turned = makeTurn();
        // what is held runs while Redis settles what finished and makes more ready
        fill();
        if (!(await turned)) return hurry.aborted ? 'left' : 'fenced';
        continue;
      }
      fill();
      if (!draining() && !refusal && !paused && !apart && !ask && slots.free > 0 && held.length === 0)
        idle.begin();
      reapOthers(now);
      const stale =
        held[0] && !isSuspect(held[0].delivery) ? Math.max(0, held[0].since + STALE_MS + 1 - now) : Infinity;
      await bell.rung(Math.min(turnIn(now), stale));
    }
  }

  /** Aborts what runs and lets it end; what ended is settled by one last turn, the rest goes back with the goodbye. */
  async function giveUp(): Promise<void> {
    for (const { abort } of running.values()) abort.abort(new Error('the worker is shutting down'));
    const ended = new AbortController();
    await Promise.race([
      Promise.allSettled(Array.from(running.values(), (run) => run.ended)),
      systemClock.sleep(ABORT_PATIENCE_MS, ended.signal),
    ]);
    ended.abort();
    if (batch.size > 0) await makeTurn();
  }

  async function leave(): Promise<void> {
    const certain = await idle.end();
    // nobody need find this mark any more
    redis.zrem(keys.leaving, worker).catch(() => undefined);
    try {
      const goodbye = reap(redis, keys, worker, epoch, certain ? 'leave' : 'displaced');
      const left = await Promise.race([goodbye, patience.late]);
      if (left) log.info({ tasks: left }, 'handed back to the queue');
    } catch (error) {
      log.error({ error: (error as Error).message }, 'no goodbye: others take over when the lease is over');
    }
  }

  const wakeLoop = (): void => bell.ring();
  const leaveSlots = slots.join(lane);
  stopping.addEventListener('abort', wakeLoop);
  hurry.addEventListener('abort', wakeLoop);
  try {
    const end = await loop();
    over = true;
    for (const { abort } of running.values()) abort.abort(new Error('the lease of this worker was lost'));
    // they hold their slots until they end, but nobody waits for what they return
    slots.outlive(Array.from(running.values(), (run) => run.ended));
    if (end === 'left') await leave();
    else await idle.end();
    return end;
  } finally {
    leaveSlots();
    stopping.removeEventListener('abort', wakeLoop);
    hurry.removeEventListener('abort', wakeLoop);
  }
}
