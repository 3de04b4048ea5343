/** A handler that knows what of it still runs, so that closing can wait for it. */
import type { Handler, TaskContext } from '../task/handler.ts';

export interface Attempts {
  readonly handle: Handler;
  /** Resolves when all that runs now has ended, however. */
  readonly settled: () => Promise<void>;
}

export function trackAttempts(run: (context: TaskContext, task: unknown) => Promise<unknown>): Attempts {
  const attempts = new Set<Promise<unknown>>();
  return {
    handle: async (task, context) => {
      const attempt = run(context, task);
      attempts.add(attempt);
      try {
        return await attempt;
      } finally {
        attempts.delete(attempt);
      }
    },
    settled: async () => void (await Promise.allSettled(attempts)),
  };
}
