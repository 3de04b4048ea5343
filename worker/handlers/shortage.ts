/**
 * A place that is short of processes, memory or file descriptors can start nothing for a while. That is no task's fault, and
 * must not use up the attempts of all tasks in the queue: what cannot be started is started again, ever more slowly, and the
 * task keeps its slot meanwhile, so that the worker takes no more than it can run.
 *
 * A shell that cannot fork inside a command says so on stderr and ends. It may have done a part of its work, and the limit
 * may be one of its own, so that is believed some times, and is a failed attempt then.
 */
import { sleep } from '../../runtime/timers.ts';
import { describeError } from '../task/describe-error.ts';
import { CommandError } from './errors.ts';

/** A program ended because it could not start another one; the message is that of the failed attempt. */
export class CannotFork extends CommandError {}

export interface Shortage {
  /** Runs `attempt` again while the place is short of something. Rejects as `attempt` does, or with what `stopped` returns. */
  outlast<T>(attempt: () => Promise<T>, signal: AbortSignal, stopped: () => Error): Promise<T>;
  /** What an attempt needs may be free: the next one that waits is tried now. Said by itself when an attempt ends. */
  freed(): void;
}

/** errno(3) of what a start runs out of. */
const CODES = new Set(['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE']);
/** dash, bash, busybox. */
const WORDS =
  /\b(?:cannot fork|can't fork|fork: (?:retry: )?(?:Resource temporarily unavailable|Cannot allocate memory))/i;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** So often a shell is believed, which is about half a minute. */
const MOST_WORDS = 10;

/** Whether a program that failed says that it could not fork. */
export function cannotFork(stderr: string): boolean {
  return WORDS.test(stderr);
}

/** `report`: why nothing can be started, once, and `undefined` when it can be again. */
export function createShortage(report: (why: string | undefined) => void = () => undefined): Shortage {
  /** Ends the pause of each attempt that waits, the one that began to wait first in front. */
  const waiting = new Set<() => void>();
  let short = false;

  function say(why: string | undefined): void {
    if (short === (why !== undefined)) return;
    short = why !== undefined;
    report(why);
  }

  /** Until something may be free: an attempt has ended, or it is time to look. */
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
    } else say(undefined);
  }

  return {
    freed,
    outlast: async (attempt, signal, stopped) => {
      let words = 0;
      for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
        try {
          const value = await attempt();
          freed();
          return value;
        } catch (error) {
          const lacking = isLacking(error) || (error instanceof CannotFork && ++words <= MOST_WORDS);
          if (!lacking) {
            freed();
            throw error;
          }
          say(describeError(error));
          await pauseFor(pause, signal);
          if (signal.aborted) throw stopped();
        }
      }
    },
  };
}

/** Whether a start failed for want of something that the place is short of. */
export function isLacking(error: unknown): boolean {
  if (!(error instanceof CommandError)) return false;
  const { code } = (error.cause ?? {}) as { readonly code?: unknown };
  return typeof code === 'string' && CODES.has(code);
}
