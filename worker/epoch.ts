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
import type { QueueKeys } from '../queue/keys.ts';
import { reap } from '../queue/scripts.ts';
import { turn, type Delivery } from '../queue/turn.ts';
import { systemClock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { createBell } from './bell.ts';
import { createIdleWait, createPace, holdTarget } from './fetch.ts';
import type { LeaseKeeper } from './lease.ts';
import type { WorkerMetrics } from './metrics.ts';
import { createPatience } from './patience.ts';
import { createReaper } from './reaper.ts';
import { runTask, type Finished, type RunDeps } from './run.ts';
import { createBatch } from './settle.ts';

export interface EpochOptions {
  readonly redis: Redis;
  /** A connection of its own for the blocking move. */
  readonly blocker: Redis;
  readonly keys: QueueKeys;
  readonly worker: string;
  readonly concurrency: number;
  readonly leaseMs: number;
  /** Renews the lease while a handler blocks the event loop; without it, such a worker loses its lease. */
  readonly keeper: LeaseKeeper | undefined;
  readonly run: RunDeps;
  readonly log: Logger;
  readonly metrics: WorkerMetrics;
  /** Begin to drain, and leave when nothing is held. */
  readonly stopping: AbortSignal;
  /** Give back what still runs. */
  readonly hurry: AbortSignal;
}

/** Nothing that finished waits longer than this for company, ms. */
const LINGER_MS = 2;
const FULL_BATCH = 128;
/** What was taken ahead and not begun after this goes back, ms. */
const STALE_MS = 250;
/** So long handlers that answer at once have the thread to themselves, ms. */
const SPELL_MS = 2;
/** An idle worker looks in this often: for tasks that fell due, and whether it is to drain. */
const IDLE_TURN_MS = 1_000;
/** After `hurry`, what obeys its AbortSignal has this long to end. */
const ABORT_PATIENCE_MS = 1_000;

interface Run {
  /** Resolves when the handler has ended, however. */
  readonly ended: Promise<void>;
  readonly abort: AbortController;
  readonly started: number;
}

/** Handlers that outlived an epoch: they hold their slots until they end, but nobody waits for what they return. */
export type Leftovers = Set<Promise<unknown>>;

/** Runs one epoch. Resolves to `left` after a clean goodbye, or to `fenced`. */
export async function runEpoch(
  epoch: number,
  options: EpochOptions,
  leftovers: Leftovers,
): Promise<'left' | 'fenced'> {
  const { redis, keys, worker, concurrency, leaseMs, log, metrics, stopping, hurry } = options;
  const running = new Map<string, Run>();
  const batch = createBatch(worker);
  const pace = createPace();
  const bell = createBell();
  let held: { readonly delivery: Delivery; readonly since: number }[] = []; // taken, not begun
  let turns = 0;
  let seen = 0;
  let told = false; // the controller asks to drain
  let over = false;
  let ask = true; // there may be tasks that nobody told us of
  let woken = false; // one may be in our wake list: adopt it, or hand it back, but do not leave it there
  let refusal: string | undefined; // why nothing can be taken
  let lastTurn = -Infinity;
  let lastFinish = -Infinity;
  let refill: NodeJS.Immediate | undefined;
  let dueAt = Infinity;
  const idle = createIdleWait(options.blocker, redis, keys, worker, () => {
    woken = true;
    bell.ring();
  });
  const patience = createPatience({
    hurry,
    lastMs: 2 * ABORT_PATIENCE_MS,
    longestPauseMs: Math.min(2_000, leaseMs / 3),
    log,
  });

  const reapOthers = createReaper({ redis, keys, worker, leaseMs, log });

  const draining = (): boolean => told || stopping.aborted;
  const free = (): number => concurrency - running.size - leftovers.size;
  const state = (): string => {
    if (draining()) return running.size + held.length === 0 ? 'drained' : 'draining';
    return running.size > 0 ? 'busy' : 'idle';
  };

  /** Begins what is held, as far as there are slots; handlers that answer at once give way to all else now and then. */
  function fill(): void {
    const began = performance.now();
    while (!over && held.length > 0 && free() > 0 && !draining()) {
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
    const run = runTask(delivery, abort.signal, started, options.run);
    if (!(run instanceof Promise)) {
      finish(run);
      return;
    }
    const ended = run.then((finished) => {
      running.delete(receipt);
      if (over) return;
      finish(finished);
      fill();
    });
    running.set(receipt, { ended, abort, started });
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
    if (first || batch.size === FULL_BATCH || (held.length === 0 && free() > 0)) bell.ring();
  }

  const target = (): number => holdTarget(concurrency - leftovers.size, pace);
  const holding = (): number => running.size + held.length;

  /** How long until a turn is due, ms; 0 for now. */
  function turnIn(now: number): number {
    if (batch.size > 0) {
      if (batch.size >= FULL_BATCH || draining() || (free() > 0 && held.length === 0)) return 0;
      return Math.max(0, (batch.since ?? now) + LINGER_MS - now);
    }
    const half = holding() <= target() / 2;
    if (woken || (ask && !draining() && (free() > 0 || half))) return 0;
    const pause = running.size > 0 ? leaseMs / 3 : Math.min(IDLE_TURN_MS, leaseMs / 3);
    return Math.max(0, Math.min(lastTurn + pause, draining() ? Infinity : dueAt) - now);
  }

  async function makeTurn(): Promise<boolean> {
    // half at a time where tasks are many: Redis makes one half ready while the other one runs
    const most = Math.max(concurrency, Math.ceil(target() / 2));
    const later = draining() || (held.length > 0 && holding() > target() / 2);
    const want = later ? 0 : Math.max(0, Math.min(target() - holding(), most));
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
    lastTurn = performance.now();
    if (reply === undefined || reply.kind === 'fenced') return false;
    seen = reply.seen;
    told = reply.drain;
    dueAt = reply.dueInMs === undefined ? Infinity : lastTurn + reply.dueInMs;
    const refused = typeof reply.length === 'string' ? reply.length : undefined;
    if (refused && refused !== refusal) log.error(`cannot take tasks from "${keys.queue}": ${refused}`);
    refusal = refused;
    if (typeof reply.length === 'number') ask = reply.length > 0 && want > 0;
    options.keeper?.renewed(running.size + leftovers.size + reply.tasks.length === 0);
    if (reply.tasks.length > 0) options.keeper?.begin(epoch);
    for (const delivery of reply.tasks) held.push({ delivery, since: lastTurn });
    metrics.taken(reply.tasks.length);
    return true;
  }

  function handBack(): void {
    const [oldest] = held;
    if (!oldest || (!draining() && performance.now() - oldest.since <= STALE_MS)) return;
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
      if (turnIn(performance.now()) === 0) continue; // what ended at once goes out before anything else
      if (!draining() && !refusal && free() > 0 && held.length === 0) idle.begin();
      reapOthers(now);
      const stale = held[0] ? Math.max(0, held[0].since + STALE_MS + 1 - now) : Infinity;
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
    try {
      const goodbye = reap(redis, keys, worker, epoch, certain ? 'leave' : 'lost');
      const left = await Promise.race([goodbye, patience.late]);
      if (left) log.info({ tasks: left }, 'handed back to the queue');
    } catch (error) {
      log.error({ error: (error as Error).message }, 'no goodbye: others take over when the lease is over');
    }
  }

  const wakeLoop = (): void => bell.ring();
  stopping.addEventListener('abort', wakeLoop);
  hurry.addEventListener('abort', wakeLoop);
  try {
    const end = await loop();
    over = true;
    if (end === 'left') await leave();
    else await idle.end();
    for (const { abort, ended } of running.values()) {
      abort.abort(new Error('the lease of this worker was lost'));
      leftovers.add(ended);
      void ended.finally(() => leftovers.delete(ended));
    }
    return end;
  } finally {
    stopping.removeEventListener('abort', wakeLoop);
    hurry.removeEventListener('abort', wakeLoop);
  }
}
