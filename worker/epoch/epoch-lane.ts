/** One queue in one epoch, as the slots of its worker see it: a view of its state, and the hints that other queues give it. */
import type { QueueKeys } from '../../queue/keys.ts';
import type { LeaseKeeper } from '../lease/lease.ts';
import type { OutcomeBatch } from '../turn/batch.ts';
import type { OutcomeParts } from '../turn/refused-outcomes.ts';
import type { IdleWait } from './idle-wait.ts';
import type { Lane } from './slots/lane.ts';
import { FRESH_MS } from './slots/permits.ts';
import { MAX_HELD_BYTES, type Pace } from './tasks/prefetch.ts';
import { foundEmpty, wantsWork, type EpochState, type Hints, type EpochMode } from './state.ts';
import type { Tasks } from './tasks/tasks.ts';

/** The longest round trip during which a queue that was found empty is taken to be empty still, ms. */
export const LONGEST_WINDOW_MS = 100;

export interface EpochLaneOptions {
  readonly epoch: number;
  readonly keys: QueueKeys;
  readonly rank: number;
  readonly keeper: LeaseKeeper | undefined;
  readonly pace: Pace;
  readonly context: {
    state: EpochState;
    readonly mode: EpochMode;
    readonly tasks: Tasks;
    readonly batch: OutcomeBatch;
    readonly parts: OutcomeParts;
    readonly idle: IdleWait;
  };
  /** Takes a hint and wakes the loop. */
  readonly hint: (hints: Partial<Hints>) => void;
  /** Wakes the loop. */
  readonly wake: () => void;
  /** Ends the rest in this queue, if there is one. */
  readonly endRest: () => void;
}

/** While a move is blocked in Redis, a task may still come. */
export const holdsNothing = ({ tasks, parts, idle }: EpochLaneOptions['context']): boolean =>
  tasks.running + tasks.held + parts.size === 0 && !idle.waiting;

export function createLane(options: EpochLaneOptions): Lane {
  const { epoch, keys, rank, keeper, pace, context, hint, wake, endRest } = options;
  const { tasks, batch, parts } = context;
  const hasSuspects = (): boolean => tasks.runsSuspects || tasks.holdsSuspects;
  const unlessClosed = (at: number): number => (context.mode === 'taking' ? at : Infinity);
  return {
    keys,
    rank,
    get held() {
      return tasks.held;
    },
    get running() {
      return tasks.running;
    },
    get wantsWork() {
      return wantsWork(context.state, context.mode);
    },
    get turning() {
      return context.state.turning;
    },
    get full() {
      return parts.full || tasks.heldBytes >= MAX_HELD_BYTES;
    },
    get heldSince() {
      return tasks.waitsSince;
    },
    get inTransit() {
      return context.mode === 'taking' && (context.state.inTransit || batch.releases > 0);
    },
    get apart() {
      return context.state.orders.apart;
    },
    get suspects() {
      return hasSuspects();
    },
    get solitary() {
      return context.state.company !== 'known' && hasSuspects();
    },
    get taking() {
      return context.state.underway === 'taking';
    },
    get emptyInMs() {
      return tasks.emptyInMs(performance.now());
    },
    get windowMs() {
      // where tasks are as fast as reads, a read for each few of them would be all that happens over a long way
      const fast = (pace.serviceMs ?? Infinity) <= FRESH_MS;
      return fast ? Math.min(LONGEST_WINDOW_MS, Math.max(FRESH_MS, context.state.roundTripMs)) : FRESH_MS;
    },
    get drainOrdered() {
      return context.state.orders.drain;
    },
    get maybeDrained() {
      return context.state.reported.maybeDrained;
    },
    get empty() {
      const { underway, hints } = context.state;
      return holdsNothing(context) && batch.size === 0 && !hints.woken && underway === 'none';
    },
    get readAt() {
      return unlessClosed(context.state.readAt);
    },
    get readSentAt() {
      return unlessClosed(context.state.readSentAt);
    },
    get inMotion() {
      const { underway, hints } = context.state;
      // what is to be settled may go back to the queue
      const settles = underway !== 'none' || batch.size > 0 || parts.open > 0;
      return settles || hints.woken || hints.heldReady || hints.dueAt <= performance.now();
    },
    get turns() {
      return context.state.turns;
    },
    foundEmpty: (turns, sentAt) => {
      context.state = foundEmpty(context.state, { turns, sentAt, at: performance.now() });
    },
    fill: () => tasks.fill(),
    take: () => hint({ poll: true }),
    poll: () => hint({ turnNow: true }),
    announceCompany: () => {
      if (context.state.company !== 'none') return;
      context.state = { ...context.state, company: 'announced' };
      hint({ turnNow: true });
    },
    wake,
    guardLease: () => {
      endRest();
      keeper?.begin(epoch);
    },
  };
}
