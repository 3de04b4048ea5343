/**
 * Tasks that wait behind what does not end. A sum of work says when a slot will be free only where tasks finish as they did
 * before. Where none has finished since the oldest waiting one came, although many should have, or none ever has, what runs may
 * run for as long as it likes: it takes at least as long as it has taken. A slot of its own is then the only thing that is sure
 * to help a waiting task, and it has to be asked for a start before the task's deadline. Pure.
 */
import { ageOfLast, lastTaken, type Cohort, type Curve } from './arrivals.ts';
import type { LearnedService } from './service-time.ts';
import { DEFAULT_TASKS_PER_REPLICA } from '../tasks-per-replica.ts';

/** Tasks that should have finished by now, and did not, before what was learned is not believed any more: 5 % by chance. */
const SURPRISE = 3;
/** As many times the length of a long task is another kind of task. */
const NEW_KIND = 2;
/** Time until the next sample, ms: what is not requested now is requested then. */
const LOOK_MS = 1_000;

export interface Waiting {
  readonly now: number;
  readonly cohorts: readonly Cohort[];
  readonly curve: Curve;
  readonly inFlight: number;
  /** Slots that are up. */
  readonly ready: number;
  /** How long a task runs, as far as that is known. */
  readonly service: Pick<LearnedService, 'mean' | 'variance'> | undefined;
  /** The most slots that there may be. */
  readonly most: number;
  /** What those in flight have run for without a reason to have ended, ms. */
  readonly unripeMs: number;
}

/**
 * Tasks that would miss the target if they had to wait for another one to end, and for which nothing says that one will; 0
 * for none.
 */
export function lastCalls(waiting: Waiting, waitMs: number, startMs: number): number {
  const { cohorts, inFlight, ready } = waiting;
  const age = Math.max(0, waitMs - startMs - LOOK_MS);
  const calls = cohorts.findLast(({ oldest }) => oldest >= age);
  if (!calls) return 0;
  const tasks = Math.max(0, calls.until - Math.max(0, ready - inFlight));
  if (isStuck(waiting, cohorts[0]?.oldest ?? 0)) return longOnes(tasks, waiting, calls.oldest);
  return Math.max(0, tasks - endingIn(Math.min(startMs + LOOK_MS, waitMs), waiting));
}

/**
 * How many of the tasks in flight will have ended in `spanMs`, where tasks are alike and longer than that: those that are old
 * enough. Otherwise only a sum of work can tell, and the result is Infinity.
 */
function endingIn(spanMs: number, { curve, inFlight, now, service }: Waiting): number {
  if (!service || service.mean <= spanMs || service.variance > service.mean ** 2 / 4) return Infinity;
  const age = service.mean + Math.sqrt(service.variance) - spanMs;
  return lastTaken(curve, inFlight, now).reduce((sum, one) => sum + (one.ageMs >= age ? one.tasks : 0), 0);
}

/**
 * Of `tasks` tasks, those that may hold a slot for long. A mean and a variance are those of a share of long tasks among
 * some of no length; but what has run for much longer than such a long one is of a kind that was not seen before, and
 * so may be all that wait.
 */
function longOnes(tasks: number, { service }: Waiting, stuckMs: number): number {
  if (!service || tasks === 0) return tasks;
  const { mean, variance } = service;
  const long = (mean ** 2 + variance) / mean;
  const share = stuckMs > NEW_KIND * long ? 1 : mean / long;
  return Math.min(tasks, Math.ceil(share * tasks + Math.sqrt(share * (1 - share) * tasks)));
}

/**
 * Whether more waits in a new pool than the plain rule would give to the largest one, and its first replicas are not up for long:
 * such tasks are short if they can be done at all, and one sample later it is known how short.
 */
export function isLearning(
  { now, cohorts, curve, inFlight, ready, service, most }: Waiting,
  starting: number,
): boolean {
  const begun = starting > 0 || ready > 0;
  return (
    !service &&
    begun &&
    waitingTasks(cohorts) > DEFAULT_TASKS_PER_REPLICA * most &&
    ageOfLast(curve, inFlight, now) < LOOK_MS
  );
}

function waitingTasks(cohorts: readonly Cohort[]): number {
  return cohorts.at(-1)?.until ?? 0;
}

function isStuck(waiting: Waiting, sinceMs: number): boolean {
  const { now, cohorts, curve, inFlight, ready, most, service, unripeMs } = waiting;
  // there cannot be a slot for each: if tasks are short, the first ones will show it, and if not, nothing helps
  if (!service) return inFlight + waitingTasks(cohorts) <= most || ageOfLast(curve, inFlight, now) >= LOOK_MS;
  if (ready === 0 || inFlight < ready) return false;
  const last = curve.at(-1);
  const from = curve.find(({ at }) => at >= now - sinceMs);
  if (!last || !from || last.done > from.done) return false;
  return last.runMs - from.runMs - unripeMs >= SURPRISE * service.mean;
}
