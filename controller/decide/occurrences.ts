/** Which occurrences of a cron task are due, and which of these are to be pushed. Pure. */
import { ConcurrencyPolicy, type Missed } from '../../kube/workerpool.ts';
import type { CronTimes } from './cron.ts';

/** Later than this, an occurrence was missed, ms. */
export const ON_TIME_MS = 60_000;
/** Of those that were missed, so many of the last ones. */
const MOST = 100;

/** What becomes of the occurrences that are due. */
export interface DueOccurrences {
  /** Times of those to push, oldest first. */
  readonly push: readonly number[];
  /** Number of those left out because they fell due while nobody could push them. */
  readonly missed: number;
  /** Number of those left out because of the last task. */
  readonly skipped: number;
}

/** Of those after `since` and up to `now`. With `Forbid`, one at most is pushed, and none while the last task has not ended. */
export function occurrencesToPush(
  times: CronTimes,
  since: number,
  now: number,
  rules: {
    readonly missed: Missed;
    readonly concurrencyPolicy: ConcurrencyPolicy;
    readonly running: boolean;
  },
): DueOccurrences {
  const due = dueBetween(times, since, now);
  const onTime = due.filter((at) => now - at <= ON_TIME_MS);
  const last = onTime.length > 0 ? onTime : due.slice(-1);
  const wanted = { Skip: onTime, Last: last, All: due }[rules.missed];
  const missed = due.length - wanted.length;
  if (rules.concurrencyPolicy === ConcurrencyPolicy.Allow) return { push: wanted, missed, skipped: 0 };
  const push = rules.running ? [] : wanted.slice(-1);
  return { push, missed, skipped: wanted.length - push.length };
}

function dueBetween({ lastStart }: CronTimes, since: number, now: number): number[] {
  const found: number[] = [];
  for (let at = lastStart(now); at !== undefined && at > since && found.length < MOST; at = lastStart(at - 1))
    found.unshift(at);
  return found;
}
