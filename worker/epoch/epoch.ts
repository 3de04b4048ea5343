/**
 * `worker/epoch/` takes a registration and runs the loop with Redis until a goodbye or a fence: which tasks are taken,
 * begun, cancelled, handed back. It does not know how a handler runs.
 *
 * One epoch of a worker: from its registration to a clean goodbye, or until it learns that it was fenced.
 *
 * The loop alternates between two things: start tasks in free slots, and make a turn (queue/scripts/turn/turn.lua) that settles
 * what finished and takes more. One turn is on its way at a time; handlers run on meanwhile. A turn whose reply was
 * lost is repeated as it was, so a result is written once and no task is taken unseen.
 *
 *   starting ──registered──▶ idle ◀──▶ busy ──stop or drain──▶ draining ──nothing held──▶ drained
 *
 * When it drains, it takes nothing more, hands back what it has not begun and finishes what it runs. A worker of several
 * queues drains as a whole, whichever of them was ordered to, and is drained when all of them hold nothing: a controller that
 * reads that in one queue may end the process. When it has to hurry, running tasks are aborted and go back to the queue for
 * others.
 */
import { systemClock } from '../../runtime/clock.ts';
import { ABORT_TIMEOUT_MS, createContext, type EpochContext, type EpochOptions } from './context.ts';
import { sayGoodbye } from './registration/goodbye.ts';
import { createTurnMaker, type TurnMaker } from './make-turn.ts';
import { createReaper } from './reaper.ts';
import { isEnding } from './state.ts';
import { staleIn, turnIn } from './turn-due.ts';

/** Runs one epoch. Resolves to `left` after a clean goodbye, or to `fenced`. */
export async function runEpoch(epoch: number, options: EpochOptions): Promise<'left' | 'fenced'> {
  const { redis, keys, worker, slots, log, stopping, hurry } = options;
  using context = createContext(epoch, options);
  using turns = createTurnMaker(context);
  const { wakeup, tasks, idle, resender, lane } = context;
  const wakeLoop = (): void => wakeup.wake();
  const leaveSlots = slots.join(lane);
  stopping.addEventListener('abort', wakeLoop);
  hurry.addEventListener('abort', wakeLoop);
  try {
    const end = await loop(context, turns);
    if (end === 'fenced') options.onFenced();
    tasks.drop(new Error('the lease of this worker was lost'));
    const certain = await idle.end();
    if (end === 'left') await sayGoodbye({ redis, keys, worker, epoch, resender, log }, certain);
    return end;
  } finally {
    leaveSlots();
    stopping.removeEventListener('abort', wakeLoop);
    hurry.removeEventListener('abort', wakeLoop);
  }
}

/** Makes a turn whenever one is due, starts tasks beside it, and sleeps until something happens. */
async function loop(context: EpochContext, turns: TurnMaker): Promise<'left' | 'fenced'> {
  const { options, wakeup, tasks, batch, idle, rest } = context;
  const { stopping, hurry } = options;
  const reapOthers = createReaper(options);
  for (;;) {
    handBack(context);
    if (stopping.aborted && isSettled(context)) return 'left';
    if (context.mode === 'leaving') {
      await giveUp(context, turns);
      return 'left';
    }
    const now = performance.now();
    if (dueIn(context, now) === 0) {
      const turned = turns.make();
      // what is held runs while Redis settles what finished and makes more ready, and what ends is packed for the next turn
      tasks.fill();
      batch.prepare();
      if (!(await turned)) return hurry.aborted ? 'left' : 'fenced';
      continue;
    }
    tasks.fill();
    // what ended immediately goes out before anything else
    if (dueIn(context, performance.now()) === 0) continue;
    rest?.step(now, idle.isOver);
    if (!rest?.resting && mayWaitInRedis(context)) idle.begin();
    if (!rest?.resting) reapOthers(now);
    await wakeup.wait(Math.min(dueIn(context, now), goesBackIn(context, now), rest?.dueIn(now) ?? Infinity));
  }
}

/** Returns to the queue what is not to begin here. */
function handBack(context: EpochContext): void {
  const { mode, tasks, idle, parts } = context;
  const ending = isEnding(mode);
  if (ending || mode === 'paused' || goesBackIn(context, performance.now()) === 0) tasks.handBack();
  if (!ending) return;
  idle.pause();
  parts.release(performance.now());
}

/** Nothing runs, and everything that finished is settled or can only be handed back. */
const isSettled = ({ tasks, batch, parts }: EpochContext): boolean =>
  tasks.running + batch.size + parts.open + parts.awaitingServer === 0;

function mayWaitInRedis({ mode, state, options, lane, tasks }: EpochContext): boolean {
  const { slots } = options;
  if (mode !== 'taking' || state.hints.poll) return false;
  if (slots.othersMaybeDrained(lane) || slots.mustWait(lane)) return false;
  return slots.free > 0 && tasks.held === 0;
}

/** How long until a turn is due, ms; 0 for now. */
function dueIn(context: EpochContext, now: number): number {
  const { state, mode, target, options, batch, parts, tasks, lane, rest } = context;
  const { leaseMs, slots } = options;
  return turnIn(
    {
      state,
      mode,
      leaseMs,
      resting: rest?.resting ?? false,
      batch,
      refusedDueAt: parts.dueAt,
      held: tasks.held,
      target,
      slots,
      asked: slots.asked(lane),
      mustWait: () => slots.mustWait(lane),
      suspectsBeside: () => slots.suspectsBeside(lane),
      mayTake: () => slots.mayTake(lane),
      report: () => context.report,
    },
    now,
  );
}

/** How long until what was taken and not begun goes back, ms. */
function goesBackIn({ tasks, options, lane }: EpochContext, now: number): number {
  const { waitsSince: since, holdsSuspects: suspects } = tasks;
  const { slots } = options;
  return staleIn({ since, suspects, mustWait: slots.mustWait(lane), beside: slots.beside(lane) }, now);
}

/** Aborts what runs and lets it end; what ended is settled by one last turn, the rest goes back with the goodbye. */
async function giveUp({ tasks, batch, parts }: EpochContext, turns: TurnMaker): Promise<void> {
  tasks.abort(new Error('the worker is shutting down'));
  const ended = new AbortController();
  await Promise.race([tasks.ended(), systemClock.sleep(ABORT_TIMEOUT_MS, ended.signal)]);
  ended.abort();
  while (batch.size + parts.open > 0 && (await turns.make()));
}
