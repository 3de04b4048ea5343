/** Keeps track of a handler's running attempts, so that closing can wait for them. */
import type { Handler, TaskContext } from '../task/handler.ts';

export interface Attempts {
  readonly handle: Handler;
  /** Resolves when all attempts that run now have ended, however. */
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
