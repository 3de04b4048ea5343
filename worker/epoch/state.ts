/**
 * The state of one queue of a worker in one epoch: one value, and one function for each thing that changes it. Pure; times are
 * arguments, by performance.now() unless they are Redis'.
 *
 * The mode is derived from it and never stored, because what decides about it changes at any time and in any order: replies
 * bring the orders of Redis, other queues of the worker those to drain, the process its signals.
 *
 *   taking ◀──▶ apart, limited, refused, paused   as the last reply ordered
 *      any ◀──▶ draining                      when the controller asks for it, and takes it back
 *      any ───▶ leaving                       when what still runs is given up
 *
 * Only `taking` takes tasks. What was taken before is begun in the other modes of the first line but `paused`; while paused,
 * draining or leaving it goes back to the queue.
 */
import { countBrought, tasksBrought } from '../../queue/workers/brought.ts';
import type { TurnReply } from '../../queue/workers/turn.ts';

export type EpochMode = 'taking' | 'apart' | 'limited' | 'refused' | 'paused' | 'draining' | 'leaving';

/** The orders of Redis in the last reply. */
export interface Orders {
  /** The controller asks this worker to drain. */
  readonly drain: boolean;
  /** The queue is paused: nothing is taken from it. */
  readonly paused: boolean;
  /** Nothing more is given to this worker until it holds nothing: see suspects.lua on suspects. */
  readonly apart: boolean;
  /** The queue has limits; `closed`: tasks wait that may not begin yet for those of the queue. */
  readonly limits?: 'open' | 'closed';
  /** Why nothing can be taken from the queue. */
  readonly refusal: string | undefined;
}

/** The state of this worker in Redis, from its last turn. */
export interface Reported {
  readonly state: ReportedState | undefined;
  /** Tasks of the worker's other queues. */
  readonly elsewhere: number;
  /** Redis may hold that the worker has drained: such a turn was sent, and none with another state has come through since. */
  readonly maybeDrained: boolean;
}

/** The worker's state as its hash in Redis has it. */
export type ReportedState = 'idle' | 'busy' | 'draining' | 'drained';

/** Why a turn may be worth making. */
export interface Hints {
  /** There may be unannounced tasks. */
  readonly poll: boolean;
  /** There were tasks in the queue after the last turn, or held ones that may begin. */
  readonly backlog: boolean;
  /** There were such held ones, which the keys alone do not show. */
  readonly heldReady: boolean;
  /** A task may be in the worker's wake list: it is adopted or handed back, and never left there. */
  readonly woken: boolean;
  /** A turn is wanted now, whether or not it may take tasks. */
  readonly turnNow: boolean;
  /** When the next delayed task falls due, or what limits hold back may be tried again. */
  readonly dueAt: number;
}

export interface EpochState {
  /** Turns that were sent. */
  readonly turns: number;
  /** The highest receipt counter received. */
  readonly seen: number;
  /** When the last turn that was answered was made, ms of Redis time; 0 before the first. */
  readonly madeAt: number;
  /** Tasks that no answered turn has settled. */
  readonly holds: number;
  readonly orders: Orders;
  readonly reported: Reported;
  readonly hints: Hints;
  /** The turn on its way: `taking` may bring tasks, `settling` settles some, or its tasks are being checked for cancellation. */
  readonly underway: 'none' | 'settling' | 'taking';
  /** A turn of any kind is on its way, or what it brought is not among the tasks that are held yet. */
  readonly turning: boolean;
  /** That turn brings tasks that were moved to the worker, or puts tasks back into the queue. */
  readonly inTransit: boolean;
  /** Company of this queue's suspects by tasks of queues above: none, to be reported by the next turn, or known to Redis. */
  readonly company: 'none' | 'announced' | 'known';
  readonly answeredAt: number;
  /** When the last turn that found or did anything was answered, or the first one. */
  readonly activeAt: number;
  /** When it last learned what the queue holds. */
  readonly readAt: number;
  /** When that was requested. */
  readonly readSentAt: number;
  /** The clock of Redis minus performance.now(), ms. */
  readonly redisAheadMs: number;
  /** The fastest round trip, slowly forgotten, ms. */
  readonly roundTripMs: number;
}

export const initialState: EpochState = {
  turns: 0,
  seen: 0,
  madeAt: 0,
  holds: 0,
  orders: { drain: false, paused: false, apart: false, refusal: undefined },
  reported: { state: undefined, elsewhere: 0, maybeDrained: false },
  hints: { poll: true, backlog: false, heldReady: false, woken: false, turnNow: false, dueAt: Infinity },
  underway: 'none',
  turning: false,
  inTransit: false,
  company: 'none',
  answeredAt: -Infinity,
  activeAt: -Infinity,
  readAt: -Infinity,
  readSentAt: -Infinity,
  redisAheadMs: performance.timeOrigin,
  roundTripMs: 0,
};

/** `worker`: whether the worker as a whole drains, and whether it gives up what still runs. */
export function modeOf(
  { drain, paused, apart, limits, refusal }: Orders,
  worker: { readonly drains: boolean; readonly leaves: boolean },
): EpochMode {
  if (worker.leaves) return 'leaving';
  if (drain || worker.drains) return 'draining';
  if (paused) return 'paused';
  if (refusal !== undefined) return 'refused';
  if (apart) return 'apart';
  return limits === 'closed' ? 'limited' : 'taking';
}

/** Whether what was taken may begin. */
export const mayBegin = (mode: EpochMode): boolean => mode !== 'paused' && !isEnding(mode);

/** Whether the worker finishes what runs and takes nothing more. */
export const isEnding = (mode: EpochMode): boolean => mode === 'draining' || mode === 'leaving';

/** Whether this queue holds tasks that the worker could take, or may. */
export const wantsWork = ({ hints }: EpochState, mode: EpochMode): boolean =>
  mode === 'taking' && (hints.poll || hints.backlog || hints.woken);

/** A turn was answered, and its tasks are among those that the worker holds. */
export const added = (state: EpochState): EpochState => ({
  ...state,
  underway: 'none',
  turning: false,
  inTransit: false,
});

export function withHints(state: EpochState, hints: Partial<Hints>): EpochState {
  return { ...state, hints: { ...state.hints, ...hints } };
}

/** A turn is about to be sent. */
export interface SentTurn {
  readonly want: number;
  /** Outcomes that it settles. */
  readonly settling: number;
  /** Some of them go back to the queue. */
  readonly releasing: boolean;
  readonly suspects: boolean;
}

export function sending(state: EpochState, { want, settling, releasing, suspects }: SentTurn): EpochState {
  const mayBring = want > 0 || state.hints.woken;
  return {
    ...state,
    turns: state.turns + 1,
    hints: { ...state.hints, poll: false, woken: false, turnNow: false },
    turning: true,
    underway: mayBring ? 'taking' : settling > 0 ? 'settling' : 'none',
    inTransit: state.hints.woken || releasing,
    company: suspects ? state.company : 'none',
  };
}

/** A turn that reports this state is about to be sent; it may come through although its reply does not. */
export function reporting(state: EpochState, reported: ReportedState): EpochState {
  return reported === 'drained' ? { ...state, reported: { ...state.reported, maybeDrained: true } } : state;
}

/**
 * A task came by the idle wait (queue/scripts/workers/adopt.lua). `undefined` if the worker has not seen all tasks before it: the next turn brings
 * them, and this one with them.
 */
export function adopted(
  state: EpochState,
  { counter, more }: { readonly counter: number; readonly more: boolean },
): EpochState | undefined {
  if (counter !== state.seen + 1) return undefined;
  const { hints } = state;
  return {
    ...state,
    seen: counter,
    holds: state.holds + 1,
    hints: more ? { ...hints, poll: true, backlog: true } : hints,
  };
}

/** Leaves out the tasks that came by the idle wait since the turn was sent, which returned them once more. */
export function withoutSeen<Reply extends Pick<AnsweredTurn['reply'], 'tasks' | 'packed' | 'seen'>>(
  { seen }: Pick<EpochState, 'seen'>,
  reply: Reply,
): Omit<Reply, 'packed'> & Pick<AnsweredTurn['reply'], 'packed'> {
  const known = seen - (reply.seen - countBrought(reply));
  if (known <= 0) return reply;
  const { packed: _packed, ...rest } = reply;
  return { ...rest, tasks: tasksBrought(reply).slice(known) };
}

/** A turn that was answered. */
export interface AnsweredTurn {
  readonly reply: Extract<TurnReply, { kind: 'held' }>;
  /** What it reported. */
  readonly state: ReportedState;
  readonly elsewhere: number;
  /** Outcomes that it was to settle. */
  readonly settling: number;
  readonly sentAt: number;
  /** From there to its reply, ms. */
  readonly tookMs: number;
  /** After the reply, and after the wait for replicas, if any. */
  readonly answeredAt: number;
  /** It took tasks, or did not because queues above go first: then it asks again as soon as those let it. */
  readonly mayTake: boolean;
  /** It could take no suspects, for the sake of other queues. */
  readonly withoutSuspects: boolean;
  /** Tasks that the worker holds in all its queues, without those of the reply. */
  readonly holding: number;
}

/** The state after a reply; its tasks are still to be added to those that are held. */
export function next(before: EpochState, turn: AnsweredTurn): EpochState {
  const { reply, sentAt, tookMs, answeredAt } = turn;
  const { drain, paused, apart, limits } = reply;
  const taken = countBrought(reply);
  const heldReady = reply.heldReady === true;
  const backlog = heldReady || (typeof reply.length === 'number' && reply.length > 0);
  const drainEnded = before.orders.drain && !drain;
  const closed = paused || apart || limits === 'closed';
  const more = backlog && (turn.mayTake || drainEnded) && !closed;
  const idle =
    taken + reply.aside + turn.settling === 0 &&
    reply.length === 0 &&
    !heldReady &&
    !drain &&
    !paused &&
    !apart;
  // suspects wait that this worker could have taken if it had been allowed to
  const missed = reply.aside > 0 && turn.withoutSuspects && !apart && turn.holding === 0;
  return {
    ...before,
    seen: Math.max(before.seen, reply.seen),
    madeAt: reply.madeAt,
    // outcomes that were refused as a whole are still to be settled
    holds: before.holds + taken - (reply.form === 0 ? turn.settling : 0),
    orders: {
      drain,
      paused,
      apart,
      ...(limits && { limits }),
      refusal: typeof reply.length === 'string' ? reply.length || undefined : undefined,
    },
    reported: { state: turn.state, elsewhere: turn.elsewhere, maybeDrained: turn.state === 'drained' },
    hints: {
      ...before.hints,
      poll: more || missed,
      backlog,
      heldReady,
      dueAt: reply.dueInMs === undefined ? Infinity : answeredAt + reply.dueInMs,
    },
    underway: before.underway === 'none' ? 'none' : 'settling',
    answeredAt,
    activeAt: idle && before.activeAt > -Infinity ? before.activeAt : answeredAt,
    readAt: answeredAt,
    readSentAt: sentAt,
    redisAheadMs: reply.now - sentAt - tookMs,
    roundTripMs: Math.min(tookMs, before.roundTripMs + tookMs / 16),
  };
}

/** A read of the keys found the queue empty. `turns`: those that were sent before it was sent. */
export function foundEmpty(
  state: EpochState,
  read: { readonly turns: number; readonly sentAt: number; readonly at: number },
): EpochState {
  // what a turn found since then is newer
  if (state.turns !== read.turns || state.hints.woken || read.sentAt < state.readSentAt) return state;
  return {
    ...withHints(state, { poll: false, backlog: false }),
    readAt: read.at,
    readSentAt: read.sentAt,
  };
}
