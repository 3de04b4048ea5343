/**
 * Lists whose tasks workers pop themselves (`BRPOP`), with nothing else in Redis: what waits is counted, what runs is in no key.
 * `longestTask` bounds it: when nothing was there to take for that long, nothing can be running.
 */
import { parseDuration } from '../../runtime/duration.ts';
import { count, waking } from './question.ts';
import type { Source } from './source.ts';

export interface ListSettings {
  readonly keys: readonly string[];
  /** A duration. */
  readonly longestTask?: string;
}

export function listSource({ keys, longestTask }: ListSettings): Source {
  return {
    kind: 'list',
    read: async (ask) => {
      const { now, answers } = await ask(keys.map((key) => waking(count('LLEN', key))));
      return answers.map((waiting) => ({ now, waiting, inHand: 0, delayed: 0, due: 0, dueSoon: 0 }));
    },
    holding: {
      by: 'nobody',
      why: 'a task that was popped from a list is in no key of Redis',
      longestMs: longestTask === undefined ? undefined : parseDuration(longestTask),
    },
  };
}
