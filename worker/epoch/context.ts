/**
 * What the loop of one epoch, its turns and its share of the slots have in common: the connections, the tasks, what finished, and
 * the state, which is replaced as a whole whenever something happens.
 */
import type { Redis } from 'ioredis';
import type { QueueChanges } from '../../queue/changes.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { Durability } from '../../queue/connection/durability.ts';
import { claimKey } from '../../queue/workers/claim.ts';
import { note } from '../../queue/workers/register.ts';
import type { RedisOf } from '../../queue/location.ts';
import { deliverReports } from '../../queue/workers/batch-reports.ts';
import { sweep } from '../../queue/workers/sweep.ts';
import type { Drops } from '../../queue/connection/drops.ts';
import type { Logger } from '../../runtime/log.ts';
import { takeAdopted } from './adoption.ts';
import { createWakeup, type Wakeup } from './wakeup.ts';
import { createIdleWait, type IdleWait } from './idle-wait.ts';
import { createRest, type Rest } from './rest.ts';
import { MovingPace, holdTarget } from './tasks/prefetch.ts';
import type { WorkerHealth } from './health.ts';
import type { LeaseKeeper } from '../lease/lease.ts';
import type { QueueMetrics } from '../process/metrics.ts';
import { createParts, type OutcomeParts } from '../turn/refused-outcomes.ts';
import { createResender, type Resender } from '../turn/resend.ts';
import type { ResultsElsewhere } from '../turn/result-store.ts';
import { createProgressOutbox } from './tasks/progress.ts';
import type { RunDeps } from '../task/run.ts';
import { createBatch, type OutcomeBatch } from '../turn/batch.ts';
import type { Lane } from './slots/lane.ts';
import { createLane, holdsNothing } from './epoch-lane.ts';
import type { WorkerSlots } from './slots/slots.ts';
import {
  initialState,
  isEnding,
  mayBegin,
  modeOf,
  withHints,
  type EpochState,
  type Hints,
  type EpochMode,
  type ReportedState,
} from './state.ts';
import { createTasks, type Tasks } from './tasks/tasks.ts';

export interface EpochOptions {
  readonly redis: Redis;
  /** Of `redis`. */
  readonly drops: Drops;
  /** Opens one more connection, with Millrace's scripts. */
  readonly openSpare: () => Redis;
  /** Where the result hash is on another server. */
  readonly results: ResultsElsewhere | undefined;
  /** A connection of its own for the blocking move. */
  readonly blocker: Redis;
  readonly keys: QueueKeys;
  /** Of a queue in partitions: of any of them. */
  readonly redisOf: RedisOf | undefined;
  readonly worker: string;
  readonly slots: WorkerSlots;
  /** Of this queue among the worker's; 0 goes first. */
  readonly rank: number;
  readonly leaseMs: number;
  /** Of a queue in partitions: how it is told of changes while it rests, and after how long without any it does, ms. */
  readonly changes: QueueChanges | undefined;
  readonly restAfterMs: number;
  /** Renews the lease while a handler blocks the event loop; without it, such a worker loses its lease. */
  readonly keeper: LeaseKeeper | undefined;
  readonly run: Omit<RunDeps, 'redisNow' | 'claim'>;
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
  /** Called when it was fenced, before its slots are free for others. */
  readonly onFenced: () => void;
}

export interface EpochContext extends Disposable {
  readonly epoch: number;
  readonly options: EpochOptions;
  /** Replaced at each event. */
  state: EpochState;
  readonly mode: EpochMode;
  /** The worker's state to be reported to Redis. */
  readonly report: ReportedState;
  /** Tasks to hold in all queues, running ones included. */
  readonly target: number;
  readonly wakeup: Wakeup;
  readonly batch: OutcomeBatch;
  readonly parts: OutcomeParts;
  readonly resender: Resender;
  readonly tasks: Tasks;
  readonly idle: IdleWait;
  /** Of a queue in partitions. */
  readonly rest: Rest | undefined;
  readonly lane: Lane;
}

/** After `hurry`, what obeys its AbortSignal has this long to end. */
export const ABORT_TIMEOUT_MS = 1_000;

/** This many outcomes that cannot be stored now do not keep the worker from taking tasks. */
const MAX_DEFERRED = 8;

/** Disposing it drops the progress that was not written yet. */
export function createContext(epoch: number, options: EpochOptions): EpochContext {
  const { redis, keys, worker, slots, log, metrics, stopping, hurry } = options;
  const wakeup = createWakeup();
  const batch = createBatch(worker, options.results !== undefined);
  const pace = new MovingPace();
  const parts = createParts(() => Math.max(MAX_DEFERRED, slots.total));
  const progress = createProgressOutbox({ redis, keys, worker, epoch });
  const hint = (hints: Partial<Hints>): void => {
    context.state = withHints(context.state, hints);
    wakeup.wake();
  };
  const idle = createIdleWait(options.blocker, redis, keys, worker, {
    known: () => {
      const { turns: turn, madeAt: heard, seen } = context.state;
      return { worker, epoch, turn, heard, seen };
    },
    onAdopted: (task) => takeAdopted(context, task),
    onTask: () => hint({ woken: true }),
    // what was moved, if anything, is put back by a turn that need not wait for other queues
    onDoubt: () => hint({ turnNow: true }),
    onReady: () => wakeup.wake(),
    // without a rest, the next one may begin after the next turn
    onEnd: () => rest && wakeup.wake(),
    // by this id the controller can end the wait; without it, it takes a second
    onConnection: (blocker) => note(redis, keys, worker, epoch, { blocker }),
  });
  const tasks = createTasks({
    run: {
      ...options.run,
      redisNow: () => performance.now() + context.state.redisAheadMs,
      claim: (claim) => claimKey(redis, keys, worker, claim),
    },
    batch,
    pace,
    slots,
    progress,
    metrics,
    log,
    mayBegin: () => mayBegin(context.mode) && slots.mayBegin(lane),
    onBatch: () => wakeup.wake(),
    onHolding: () => slots.holds(lane),
  });
  const context: EpochContext = {
    epoch,
    options,
    state: initialState,
    get mode() {
      return modeOf(context.state.orders, {
        drains: slots.drainOrdered || stopping.aborted,
        leaves: hurry.aborted,
      });
    },
    get report() {
      if (!isEnding(context.mode)) return tasks.running > 0 ? 'busy' : 'idle';
      return holdsNothing(context) && slots.othersAreEmpty(lane) ? 'drained' : 'draining';
    },
    get target() {
      // what is taken counts for limits, so nothing is taken ahead of where they hold
      return context.state.orders.limits ? slots.usable : holdTarget(slots.usable, pace);
    },
    wakeup,
    batch,
    parts,
    resender: resenderOf(options),
    tasks,
    idle,
    get rest() {
      return rest;
    },
    get lane() {
      return lane;
    },
    [Symbol.dispose]: () => {
      progress[Symbol.dispose]();
      rest?.[Symbol.dispose]();
    },
  };
  const { keeper, rank } = options;
  const wake = (): void => wakeup.wake();
  const rest = restOf(context, hint);
  const endRest = (): void => {
    if (!rest?.resting) return;
    rest.end();
    wake();
  };
  const lane = createLane({ epoch, keys, rank, keeper, context, pace, hint, wake, endRest });
  return context;
}

function restOf(context: EpochContext, hint: (hints: Partial<Hints>) => void): Rest | undefined {
  const { options, epoch, wakeup } = context;
  const { changes, redis, keys, worker, leaseMs, restAfterMs, health, keeper } = options;
  if (!changes) return undefined;
  return createRest({
    changes,
    redis,
    keys,
    worker,
    epoch,
    leaseMs,
    afterMs: restAfterMs,
    situation: () => (mayRest(context) ? context.state : undefined),
    onRested: ({ dueInMs, expired }, restMs) => {
      health?.turned(keys.queue, 0, restMs);
      keeper?.renewed(true);
      hint({ dueAt: dueInMs === undefined ? Infinity : performance.now() + dueInMs });
      if (expired) void clean(options);
    },
    onEnd: () => hint({ poll: true, turnNow: true }),
    wake: () => wakeup.wake(),
  });
}

async function clean({ redis, redisOf, keys, log }: EpochOptions): Promise<void> {
  try {
    await sweep(redis, keys);
    if (redisOf) await deliverReports(redisOf, keys);
  } catch (err) {
    log.debug({ err }, 'failed to sweep');
  }
}

/** Whether the whole worker holds nothing, and nothing that is known is to be done in this queue. */
function mayRest({ mode, state, options: { slots }, batch, parts, tasks, lane }: EpochContext): boolean {
  const { hints, reported, orders } = state;
  if (mode !== 'taking' || state.turning || slots.holding > 0 || slots.othersMaybeDrained(lane)) return false;
  if (hints.poll || hints.backlog || hints.woken || hints.turnNow || orders.drain) return false;
  if (reported.state !== 'idle' || reported.elsewhere > 0 || reported.maybeDrained) return false;
  return state.holds + tasks.held + tasks.running + batch.size + parts.size === 0;
}

function resenderOf({ hurry, leaseMs, metrics, health, keys, log }: EpochOptions): Resender {
  return createResender({
    hurry,
    lastMs: 2 * ABORT_TIMEOUT_MS,
    longestPauseMs: Math.min(2_000, leaseMs / 3),
    onFailure: (error) => {
      metrics.turnFailed();
      health?.failed(keys.queue, error);
    },
    log,
  });
}
