/**
 * `worker/epoch/` takes a registration and runs the loop with Redis until a goodbye or a fence: which tasks are taken,
 * begun, cancelled, handed back. It does not know how a handler runs.
 *
 * One epoch of a worker: from its registration to a clean goodbye, or to the moment when it learns that it was fenced.
 *
 * The loop alternates between two things: start tasks in free slots, and make a turn (queue/scripts/turn.lua) that settles
 * what finished and takes more. One turn is on its way at a time; handlers run on meanwhile. A turn whose reply was
 * lost is repeated as it was, so a result is written once and no task is taken unseen.
 *
 *   starting ──registered──▶ idle ◀──▶ busy ──stop or drain──▶ draining ──nothing held──▶ drained
 *
 * When it drains, it takes nothing more, hands back what it has not begun and finishes what it runs. A worker of several
 * queues drains as a whole, whichever of them was told so, and is drained when all of them hold nothing: whoever reads that
 * in one queue may end the process. When it is told to hurry, running tasks get an AbortSignal and go back to the queue for
 * others.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import type { Durability } from '../../queue/connection/durability.ts';
import { note } from '../../queue/scripts/scripts.ts';
import type { Drops } from '../../queue/connection/drops.ts';
import type { TurnReply } from '../../queue/workers/turn.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { createCancelCheck } from './cancel.ts';
import { createBell } from './wakeup.ts';
import { createIdleWait } from './idle-wait.ts';
import { createPace, holdTarget, MAX_BYTES } from './prefetch.ts';
import type { WorkerHealth } from './health.ts';
import type { LeaseKeeper } from '../lease/lease.ts';
import type { QueueMetrics } from '../process/metrics.ts';
import { createDurable } from '../turn/replication.ts';
import { sayGoodbye } from './goodbye.ts';
import { createParts, wholePart } from '../turn/refused-outcomes.ts';
import { createPatience } from '../turn/resend.ts';
import { createProgressOutbox } from './progress.ts';
import { createReaper } from './reaper.ts';
import { refusalOf } from '../turn/refusal.ts';
import type { RunDeps } from '../task/run.ts';
import { createTurnSender } from '../turn/send-turn.ts';
import { createBatch } from '../turn/batch.ts';
import type { Lane } from './lane.ts';
import { FRESH_MS } from './permits.ts';
import type { Slots } from './slots.ts';
import { createTasks, FULL_BATCH } from './tasks.ts';

export interface EpochOptions {
  readonly redis: Redis;
  /** Of `redis`. */
  readonly drops: Drops;
  /** Opens one more connection, with Millrace's scripts. */
  readonly openSpare: () => Redis;
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
  readonly health: WorkerHealth | undefined;
  /** Begin to drain, and leave when nothing is held. */
  readonly stopping: AbortSignal;
  /** Give back what still runs. */
  readonly hurry: AbortSignal;
  /** Called after each turn that was answered. */
  readonly onTurn: () => void;
}

/** Nothing that finished waits longer than this for company, ms. */
const LINGER_MS = 2;
/** What was taken ahead and not begun after this goes back, ms. */
const STALE_MS = 250;
/** A suspect that cannot begin for this long goes back, ms: another worker may be empty. */
const SUSPECT_STALE_MS = 1_000;
/** The longest round trip that what was found empty is believed over, ms. */
const LONGEST_WINDOW_MS = 100;
/** A worker looks in this often: for tasks that fell due, whether it is to drain, and what was cancelled. */
const TURN_MS = 1_000;
/** One that drains must hear soon that the controller has changed its mind. */
const DRAINING_TURN_MS = 250;
/** After `hurry`, what obeys its AbortSignal has this long to end. */
const ABORT_PATIENCE_MS = 1_000;

/** So many outcomes that cannot be stored now do not keep the worker from taking tasks. */
const MOST_PUT_BY = 8;

const isRefused = (error: unknown): boolean => {
  const kind = refusalOf(error)?.kind;
  return kind !== undefined && kind !== 'state';
};

/** Runs one epoch. Resolves to `left` after a clean goodbye, or to `fenced`. */
export async function runEpoch(epoch: number, options: EpochOptions): Promise<'left' | 'fenced'> {
  const { redis, keys, worker, slots, leaseMs, log, metrics, stopping, hurry } = options;
  const batch = createBatch();
  const pace = createPace();
  const bell = createBell();
  let turns = 0;
  let seen = 0;
  let heardAt = 0; // by Redis: when the last turn that was answered was made
  let holds = 0; // tasks that no answered turn has settled
  let told = false; // the controller asks to drain
  let paused = false; // the queue is: nothing is taken from it
  let said = ''; // the state that Redis knows
  let saidDrained = false; // or may know: such a turn was sent, and none with another state has come through since
  let pending = false; // a turn is on its way that may bring tasks, or settles some
  let ask = true; // there may be tasks that nobody told us of
  let more = false; // there were tasks in the queue after the last turn
  let woken = false; // one may be in our wake list: adopt it, or hand it back, but do not leave it there
  let refusal: string | undefined; // why nothing can be taken
  let lastTurn = -Infinity;
  let lookedAt = -Infinity;
  let lookSentAt = -Infinity;
  let peek = false; // a queue below asks what there is
  let taking = false; // a turn is on its way that may bring tasks
  let company: 'none' | 'announced' | 'known' = 'none'; // of our suspects, by tasks of queues above
  let roundTripMs = 0;
  let saidElsewhere = 0; // tasks of other queues that Redis knows of
  let dueAt = Infinity;
  let apart = false; // nothing more is given to us until we hold nothing: see turn.lua on suspects
  const idle = createIdleWait(options.blocker, redis, keys, worker, {
    onTask: () => {
      woken = true;
      bell.ring();
    },
    // what was moved, if anything, is put back by a turn that need not wait for other queues
    onDoubt: () => {
      peek = true;
      bell.ring();
    },
    onReady: () => bell.ring(),
    // by this id the controller can end the wait; without it, it takes a second
    onConnection: (id) => note(redis, keys, worker, epoch, 'blocker', id),
  });
  const patience = createPatience({
    hurry,
    lastMs: 2 * ABORT_PATIENCE_MS,
    longestPauseMs: Math.min(2_000, leaseMs / 3),
    onFailure: (error) => {
      metrics.turnFailed();
      options.health?.failed(keys.queue, error);
    },
    log,
  });

  const parts = createParts(() => Math.max(MOST_PUT_BY, slots.total));
  using turnSender = createTurnSender({ ...options, patience, parts });
  const cancels = createCancelCheck(redis, keys, (send) => patience.repeat(send, isRefused));
  using progress = createProgressOutbox({ redis, keys, worker, epoch });

  const reapOthers = createReaper({ redis, keys, worker, leaseMs, log });
  const durable = createDurable({ redis, durability: options.durability, log, metrics });

  const draining = (): boolean => slots.told || stopping.aborted;
  const mayBegin = (): boolean => !draining() && !paused && slots.mayTake(lane);
  const onBatch = (): void => bell.ring();
  const tasks = createTasks({
    run: options.run,
    batch,
    pace,
    slots,
    progress,
    metrics,
    log,
    mayBegin,
    onBatch,
    onHolding: () => slots.holds(lane),
  });
  const state = (): string => {
    if (draining()) return isEmpty() && slots.othersAreEmpty(lane) ? 'drained' : 'draining';
    return tasks.running > 0 ? 'busy' : 'idle';
  };
  // while a move is blocked in Redis, a task may still come
  const isEmpty = (): boolean => tasks.running + tasks.held + parts.size === 0 && !idle.waiting;

  const lane: Lane = {
    keys,
    rank: options.rank,
    get held() {
      return tasks.held;
    },
    get curious() {
      return (ask || more || woken) && !draining() && !paused && !apart && !refusal;
    },
    get running() {
      return tasks.running;
    },
    get apart() {
      return apart;
    },
    get solitary() {
      return company !== 'known' && tasks.runsSuspects;
    },
    get taking() {
      return taking;
    },
    get emptyInMs() {
      return tasks.emptyInMs(performance.now());
    },
    get windowMs() {
      // where tasks are as fast as looks, a look for each few of them would be all that happens over a long way
      const fast = (pace.serviceMs ?? Infinity) <= FRESH_MS;
      return fast ? Math.min(LONGEST_WINDOW_MS, Math.max(FRESH_MS, roundTripMs)) : FRESH_MS;
    },
    get told() {
      return told;
    },
    get saidDrained() {
      return saidDrained;
    },
    get empty() {
      return isEmpty() && batch.size === 0 && !woken && !pending;
    },
    get lookedAt() {
      return draining() || refusal || paused || apart ? Infinity : lookedAt;
    },
    get lookSentAt() {
      return draining() || refusal || paused || apart ? Infinity : lookSentAt;
    },
    get inMotion() {
      // what is to be settled may go back to the queue
      return pending || woken || batch.size > 0 || parts.open > 0 || dueAt <= performance.now();
    },
    get turns() {
      return turns;
    },
    foundEmpty: (turnsThen, sentAt) => {
      // what a turn found since then is newer
      if (turns !== turnsThen || woken || sentAt < lookSentAt) return;
      lookSentAt = sentAt;
      lookedAt = performance.now();
      more = false;
      ask = false;
    },
    fill: () => tasks.fill(),
    ask: () => {
      ask = true;
      bell.ring();
    },
    look: () => {
      peek = true;
      bell.ring();
    },
    accompany: () => {
      if (company !== 'none') return;
      company = 'announced';
      peek = true;
      bell.ring();
    },
    nudge: () => bell.ring(),
    guard: () => options.keeper?.begin(epoch),
  };

  const target = (): number => holdTarget(slots.usable, pace);

  /** How long until a turn is due, ms; 0 for now. */
  function turnIn(now: number): number {
    if (peek || turns === 0 || parts.dueAt <= now) return 0;
    // the worker is empty now for the suspects that wait
    if (apart && saidElsewhere > 0 && !taking && slots.holding === 0) return 0;
    if (batch.size > 0) {
      if (batch.size >= FULL_BATCH || draining() || (slots.free > 0 && tasks.held === 0)) return 0;
      return Math.max(0, (batch.since ?? now) + LINGER_MS - now);
    }
    const wanted = ask && !draining() && (slots.free > 0 || slots.holding <= target() / 2);
    // what cannot be run goes back at once; a queue above is looked at first, for the moment that this takes
    if (woken && (slots.free === 0 || draining() || slots.mustWait(lane))) return 0;
    if ((woken || wanted) && slots.mayTake(lane)) return 0;
    if ((draining() || saidDrained) && said !== state()) return 0;
    const pause = Math.min(draining() ? DRAINING_TURN_MS : TURN_MS, leaseMs / 3);
    return Math.max(0, Math.min(lastTurn + pause, draining() ? Infinity : dueAt, parts.dueAt) - now);
  }

  /** How long until what was not begun goes back, ms. */
  function staleIn(now: number): number {
    if (tasks.waitsSince === undefined) return Infinity;
    // the queue above could wait for this one, and this one for that
    if (slots.mustWait(lane)) return 0;
    // suspects may wait for one another, but not for what else runs here
    if (tasks.holdsSuspects && slots.beside(lane) === 0) return Infinity;
    const patienceMs = tasks.holdsSuspects ? SUSPECT_STALE_MS : STALE_MS;
    return Math.max(0, tasks.waitsSince + patienceMs - now);
  }

  async function makeTurn(): Promise<boolean> {
    // half at a time where tasks are many: Redis makes one half ready while the other one runs
    const most = Math.max(slots.usable, Math.ceil(target() / 2));
    const after = !slots.isFree(lane); // what is above goes first
    const enough = tasks.held > 0 && (slots.holding > target() / 2 || tasks.heldBytes >= MAX_BYTES);
    const later = after || draining() || parts.full || enough;
    const want = later ? 0 : Math.max(0, Math.min(target() - slots.holding, most));
    const part = parts.next(performance.now()) ?? wholePart(batch.take());
    const settling = part.entries.length;
    pending = want > 0 || settling > 0 || woken;
    taking = want > 0 || woken;
    const together = slots.mayTakeSuspects(lane) ? target() : 0;
    if (!tasks.runsSuspects) company = 'none';
    const announced = company === 'announced';
    const hoped = want > 0 && lane.curious;
    ask = false;
    woken = false;
    peek = false;
    const request = {
      worker,
      epoch,
      turn: ++turns,
      seen,
      heard: heardAt,
      holds,
      want,
      elsewhere: Math.max(slots.beside(lane), company === 'none' ? 0 : 1),
      together,
      emptyInMs: slots.emptyInMs,
      leaseMs,
      state: state(),
    };
    if (request.state === 'drained') saidDrained = true;
    slots.changed(lane);
    const sent = performance.now();
    const reply = await turnSender.send(request, part);
    const tookMs = performance.now() - sent;
    metrics.turned(tookMs / 1e3);
    if (reply?.kind === 'held') await durable(settling);
    lastTurn = performance.now();
    taking = false;
    if (reply === undefined || reply.kind === 'fenced') return false;
    said = request.state;
    saidElsewhere = request.elsewhere;
    const concerned = told || saidDrained;
    saidDrained = said === 'drained';
    holds += reply.tasks.length - (reply.form === 0 ? settling : 0);
    options.health?.turned(keys.queue, holds);
    lookSentAt = sent;
    roundTripMs = Math.min(tookMs, roundTripMs + tookMs / 16);
    ask = heard(reply, want > 0 || after);
    // suspects wait that this worker could take, had it been free to when it asked
    ask ||= reply.aside > 0 && (after || together === 0) && !apart && slots.holding === 0;
    const marked = await cancels.marked(reply, () => tasks.deliveries);
    tasks.add(reply.tasks, lastTurn);
    pending = false;
    if (marked?.size) tasks.cancel(marked);
    if (want > 0) slots.took(lane);
    if (announced && company === 'announced') company = 'known';
    const inVain = hoped && !lane.curious && reply.tasks.length === 0;
    options.onTurn();
    slots.looked(lane, concerned || announced || slots.told, inVain);
    return true;
  }

  /** Takes note of a reply, except for its tasks. Returns whether to ask for more at once; `may`: others let us. */
  function heard(reply: Extract<TurnReply, { kind: 'held' }>, may: boolean): boolean {
    seen = reply.seen;
    heardAt = reply.madeAt;
    const back = told && !reply.drain;
    told = reply.drain;
    ({ paused, apart } = reply);
    slots.changed(lane);
    lookedAt = lastTurn;
    dueAt = reply.dueInMs === undefined ? Infinity : lastTurn + reply.dueInMs;
    const refused = typeof reply.length === 'string' ? reply.length : undefined;
    if (refused && refused !== refusal) log.error(`cannot take tasks from "${keys.queue}": ${refused}`);
    refusal = refused;
    more = Number(reply.length) > 0;
    const taken = reply.tasks.length;
    options.keeper?.renewed(slots.holding + taken === 0 && slots.free === slots.usable);
    if (taken > 0) slots.taken();
    metrics.taken(taken);
    return more && (may || back) && !paused && !apart;
  }

  async function loop(): Promise<'left' | 'fenced'> {
    for (;;) {
      if (draining() || paused || staleIn(performance.now()) === 0) tasks.handBack();
      if (draining()) {
        idle.pause();
        parts.release(performance.now());
      }
      const unfinished = tasks.running + batch.size + parts.open + parts.hopeful;
      if (stopping.aborted && unfinished === 0) return 'left';
      if (hurry.aborted) {
        await giveUp();
        return 'left';
      }
      const now = performance.now();
      if (turnIn(now) === 0) {
        const turned = makeTurn();
        // what is held runs while Redis settles what finished and makes more ready
        tasks.fill();
        if (!(await turned)) return hurry.aborted ? 'left' : 'fenced';
        continue;
      }
      tasks.fill();
      // what ended at once goes out before anything else
      if (turnIn(performance.now()) === 0) continue;
      const open =
        !draining() &&
        !refusal &&
        !paused &&
        !apart &&
        !ask &&
        !slots.saidDrainedBeside(lane) &&
        !slots.mustWait(lane);
      if (open && slots.free > 0 && tasks.held === 0) idle.begin();
      reapOthers(now);
      await bell.rung(Math.min(turnIn(now), staleIn(now)));
    }
  }

  /** Aborts what runs and lets it end; what ended is settled by one last turn, the rest goes back with the goodbye. */
  async function giveUp(): Promise<void> {
    tasks.abort(new Error('the worker is shutting down'));
    const ended = new AbortController();
    await Promise.race([tasks.ended(), systemClock.sleep(ABORT_PATIENCE_MS, ended.signal)]);
    ended.abort();
    while (batch.size + parts.open > 0 && (await makeTurn()));
  }

  const wakeLoop = (): void => bell.ring();
  const leaveSlots = slots.join(lane);
  stopping.addEventListener('abort', wakeLoop);
  hurry.addEventListener('abort', wakeLoop);
  try {
    const end = await loop();
    tasks.drop(new Error('the lease of this worker was lost'));
    const certain = await idle.end();
    if (end === 'left') await sayGoodbye({ redis, keys, worker, epoch, patience, log }, certain);
    return end;
  } finally {
    leaveSlots();
    stopping.removeEventListener('abort', wakeLoop);
    hurry.removeEventListener('abort', wakeLoop);
  }
}
