/**
 * A shortage of processes, memory or file descriptors prevents programs from being started for a while. That is no task's fault
 * and must not use up the attempts of all tasks in the queue: a failed start is retried with increasing pauses, and the task
 * keeps its slot meanwhile, so that the worker takes no more tasks than it can run.
 *
 * A shell that cannot fork inside a command reports that on stderr and ends. It may have done part of its work, and the limit may
 * be its own, so such an attempt is repeated a few times only, and then counts as failed.
 */
import { sleep } from '../../runtime/timers.ts';
import { describeError } from '../../runtime/describe-error.ts';
import { CommandError } from './errors.ts';

/** A program ended because it could not start another one; the message is that of the failed attempt. */
export class CannotFork extends CommandError {}

export interface Shortage {
  /** Repeats `attempt` during a shortage. Rejects as `attempt` does, or with the error that `stopped` returns. */
  outlast<T>(attempt: () => Promise<T>, signal: AbortSignal, stopped: () => Error): Promise<T>;
  /** Resources may have been released: the next waiting attempt is repeated now. Called internally when an attempt ends. */
  freed(): void;
}

/** errno(3) of a shortage. */
const CODES = new Set(['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE']);
/** dash, bash, busybox. */
const CANNOT_FORK =
  /\b(?:cannot fork|can't fork|fork: (?:retry: )?(?:Resource temporarily unavailable|Cannot allocate memory))/i;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** Attempts that are repeated because of a shell's report, over about half a minute. */
const MOST_REPORTS = 10;

/** Whether a failed program reports that it could not fork. */
export function cannotFork(stderr: string): boolean {
  return CANNOT_FORK.test(stderr);
}

/** `report` receives the reason of a shortage, once, and `undefined` at its end. */
export function createShortage(report: (why: string | undefined) => void = () => undefined): Shortage {
  /** Ends the pauses of waiting attempts, in the order in which they began to wait. */
  const waiting = new Set<() => void>();
  let short = false;

  function reportOnce(why: string | undefined): void {
    if (short === (why !== undefined)) return;
    short = why !== undefined;
    report(why);
  }

  /** Waits until an attempt has ended, or for `ms`. */
  async function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
    const ended = new AbortController();
    const wake = (): void => ended.abort();
    waiting.add(wake);
    await sleep(ms, AbortSignal.any([signal, ended.signal]));
    waiting.delete(wake);
  }

  function freed(): void {
    const [first] = waiting;
    if (first) {
      waiting.delete(first);
      first();
    } else reportOnce(undefined);
  }

  return {
    freed,
    outlast: async (attempt, signal, stopped) => {
      let reports = 0;
      for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
        try {
          const value = await attempt();
          freed();
          return value;
        } catch (error) {
          const lacking = isLacking(error) || (error instanceof CannotFork && ++reports <= MOST_REPORTS);
          if (!lacking) {
            freed();
            throw error;
          }
          reportOnce(describeError(error));
          await pauseFor(pause, signal);
          if (signal.aborted) throw stopped();
        }
      }
    },
  };
}

/** Whether a start failed because of a shortage. */
export function isLacking(error: unknown): boolean {
  if (!(error instanceof CommandError)) return false;
  const { code } = (error.cause ?? {}) as { readonly code?: unknown };
  return typeof code === 'string' && CODES.has(code);
}
