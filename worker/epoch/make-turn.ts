/**
 * One turn of an epoch: decide what it asks for and settles, send it, apply the reply. One is on its way at a time, and handlers
 * run on meanwhile.
 */
import { isReply } from '../../queue/connection/reply-code.ts';
import { deliverReports } from '../../queue/workers/batch-reports.ts';
import { countBrought } from '../../queue/workers/brought.ts';
import type { TurnRequest } from '../../queue/workers/turn.ts';
import { isRelease } from '../turn/batch.ts';
import { createReplicationWait } from '../turn/replication.ts';
import { takenPart, type OutcomePart } from '../turn/refused-outcomes.ts';
import { turnRefusalOf } from '../turn/refusal.ts';
import { createTurnSender } from '../turn/send-turn.ts';
import { createCancelCheck } from './tasks/cancel.ts';
import type { EpochContext } from './context.ts';
import {
  added,
  next,
  reporting,
  sending,
  withoutSeen,
  type AnsweredTurn,
  type EpochState,
  type ReportedState,
} from './state.ts';
import { wantedTasks } from './turn-due.ts';

export interface TurnMaker extends Disposable {
  /** Makes a turn. Resolves to whether the epoch goes on: not when it was fenced, or no time is left for an answer. */
  make(): Promise<boolean>;
}

type Request = Omit<TurnRequest, 'settled' | 'form' | 'state'> & {
  readonly state: ReportedState;
  readonly elsewhere: number;
};

/** A turn that is about to be sent. */
interface Plan {
  readonly request: Request;
  readonly part: OutcomePart;
  readonly settling: number;
  /** Queues above go first. */
  readonly after: boolean;
  /** The queue was thought to hold tasks. */
  readonly hoped: boolean;
  /** It reports that the queue's suspects have company. */
  readonly announced: boolean;
}

const isRefused = (error: unknown): boolean => {
  const kind = turnRefusalOf(error)?.kind;
  return kind !== undefined && kind !== 'state';
};

/** Disposing it closes what it opened. */
export function createTurnMaker(context: EpochContext): TurnMaker {
  const { options, resender, parts, tasks, lane } = context;
  const { redis, keys, slots, log, metrics } = options;
  const { durability } = options;
  const replication = createReplicationWait({ durability, log, metrics });
  const sender = createTurnSender({ ...options, resender, parts, replication });
  const cancels = createCancelCheck(redis, keys, (send) => resender.send(send, isRefused));

  return {
    make: async () => {
      const plan = planTurn(context);
      context.rest?.end();
      slots.changed(lane);
      slots.sent(lane, plan.request.want);
      const sentAt = performance.now();
      const answer = await sender.send(plan.request, plan.part);
      const tookMs = performance.now() - sentAt;
      metrics.turned(tookMs / 1e3);
      if (answer === undefined || answer.kind === 'fenced') return false;
      await replication.settled(redis, plan.settling);
      const before = context.state;
      const reply = withoutSeen(before, answer);
      apply(context, plan, { reply, sentAt, tookMs });
      const marked = await cancels.marked(reply, () => tasks.deliveries);
      tasks.add(reply.packed ?? reply.tasks, context.state.answeredAt);
      context.state = added(context.state);
      if (marked?.size) tasks.cancel(marked);
      notifySlots(context, { ...plan, hoped: plan.hoped && countBrought(reply) === 0 }, before);
      return true;
    },
    [Symbol.dispose]: () => sender[Symbol.dispose](),
  };
}

/** Takes what is to be settled out of the batch. */
function planTurn(context: EpochContext): Plan {
  const { epoch, options, batch, parts, tasks, lane, mode, target } = context;
  const { slots, worker, leaseMs } = options;
  const after = !slots.isFree(lane);
  const { usable: usableSlots } = slots;
  const holding = slots.holding - slots.waitingBelow(lane) + slots.asked(lane);
  const { held, heldBytes } = tasks;
  const room = { mode, after, full: parts.full, usableSlots, target, holding, held, heldBytes };
  const want = wantedTasks(room);
  const part = parts.next(performance.now()) ?? takenPart(batch.take());
  const settling = part.entries.length;
  const together = slots.mayTakeSuspects(lane) ? target : 0;
  const hoped = want > 0 && lane.wantsWork;
  const releasing = part.settled ? part.settled.released.length > 0 : part.entries.some(isRelease);
  const state = sending(context.state, { want, settling, releasing, suspects: lane.suspects });
  context.state = state;
  const { report } = context;
  context.state = reporting(state, report);
  const request = {
    worker,
    epoch,
    turn: state.turns,
    seen: state.seen,
    heard: state.madeAt,
    holds: state.holds,
    want,
    elsewhere: Math.max(slots.beside(lane), state.company === 'none' ? 0 : 1),
    together,
    emptyInMs: slots.emptyInMs,
    mayPack: true,
    leaseMs,
    state: report,
  };
  return { request, part, settling, after, hoped, announced: state.company === 'announced' };
}

/** Applies a reply, except for its tasks, to the state and to everything that depends on it. */
function apply(
  context: EpochContext,
  { request, settling, after }: Plan,
  answer: Pick<AnsweredTurn, 'reply' | 'sentAt' | 'tookMs'>,
): void {
  const { keys, slots, keeper, health, log, metrics } = context.options;
  const refusalBefore = context.state.orders.refusal;
  const taken = countBrought(answer.reply);
  const { holding } = slots;
  context.state = next(context.state, {
    ...answer,
    answeredAt: performance.now(),
    state: request.state,
    elsewhere: request.elsewhere,
    settling,
    mayTake: request.want > 0 || after,
    withoutSuspects: after || request.together === 0,
    holding,
  });
  const { holds, orders } = context.state;
  health?.turned(keys.queue, holds);
  slots.changed(context.lane);
  if (orders.refusal !== undefined && orders.refusal !== refusalBefore)
    log.error(`cannot take tasks from "${keys.queue}": ${orders.refusal}`);
  keeper?.renewed(holding + taken === 0 && slots.free === slots.usable);
  if (taken > 0) slots.guardLeases();
  metrics.taken(taken);
  if (answer.reply.reports) tellPartitions(context);
}

/** In the background: what does not arrive is told by the reaper. */
function tellPartitions({ options: { redisOf, keys, log } }: EpochContext): void {
  if (!redisOf) return;
  deliverReports(redisOf, keys).catch((err: unknown) =>
    // a partition that cannot be reached is reported by its own turns
    log[isReply(err) ? 'warn' : 'debug']({ err }, 'failed to tell another partition of a batch; retrying'),
  );
}

/** Lets the other queues of the worker go on. `before`: the state before the reply. */
function notifySlots(context: EpochContext, { request, announced, hoped }: Plan, before: EpochState): void {
  const { options, lane } = context;
  const { slots } = options;
  if (request.want > 0) slots.took(lane);
  if (announced && context.state.company === 'announced')
    context.state = { ...context.state, company: 'known' };
  options.onTurn();
  const concernsAll = before.orders.drain || before.reported.maybeDrained || announced || slots.drainOrdered;
  slots.turned(lane, concernsAll, hoped && !lane.wantsWork);
}
