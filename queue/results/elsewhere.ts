/**
 * Finds results in other partitions than the one that their ids choose, where a plain client has pushed the task. What has waited
 * for a moment is looked up in all the others, some hundred ids at a time, ever less often.
 */
import type { Redis } from 'ioredis';
import { timeout, type Timer } from '../../runtime/timers.ts';
import { parseHeader } from '../dead-letter-format.ts';
import { resultErrorOf } from './result-errors.ts';

const FIRST_MS = 250;
const LONGEST_MS = 8_000;
const MOST_IDS = 500;

/** The hashes of a partition. */
export interface OtherHashes {
  readonly values: { readonly redis: Redis; readonly key: string };
  readonly errors: { readonly redis: Redis; readonly key: string };
}

/** A wait for a result. */
export interface ElsewhereWait {
  readonly id: string | Buffer;
  readonly hashes: readonly OtherHashes[];
  settle(value: Buffer | Error): void;
}

export interface Elsewhere extends Disposable {
  /** Looks for it until the returned function is called. */
  add(wait: ElsewhereWait): () => void;
}

export function createElsewhere(): Elsewhere {
  const waits = new Map<ElsewhereWait, { dueAt: number; pauseMs: number }>();
  /** Servers that have not answered yet: the others are not kept waiting by one that is away. */
  const reading = new Set<OtherHashes>();
  let timer: Timer | undefined;
  let ended = false;

  function schedule(): void {
    if (ended || timer || waits.size === 0) return;
    timer = timeout(FIRST_MS, look).unref();
  }

  function look(): void {
    const now = performance.now();
    const due: ElsewhereWait[] = [];
    for (const [wait, next] of waits) {
      if (due.length === MOST_IDS) break;
      if (next.dueAt > now) continue;
      due.push(wait);
      next.pauseMs = Math.min(2 * next.pauseMs, LONGEST_MS);
      next.dueAt = now + next.pauseMs;
      // behind the others
      waits.delete(wait);
      waits.set(wait, next);
    }
    const byPlace = Map.groupBy(
      due.flatMap((wait) => wait.hashes.map((hashes) => ({ wait, hashes }))),
      ({ hashes }) => hashes,
    );
    for (const [hashes, asked] of byPlace) {
      if (reading.has(hashes)) continue;
      reading.add(hashes);
      const waitsThere = asked.map(({ wait }) => wait);
      void lookIn(hashes, waitsThere)
        // it is looked up again later
        .catch(() => undefined)
        .finally(() => reading.delete(hashes));
    }
    timer = undefined;
    schedule();
  }

  return {
    add: (wait) => {
      waits.set(wait, { dueAt: performance.now() + FIRST_MS, pauseMs: FIRST_MS });
      schedule();
      return () => void waits.delete(wait);
    },
    [Symbol.dispose]: () => {
      ended = true;
      timer?.clear();
      waits.clear();
    },
  };
}

async function lookIn({ values, errors }: OtherHashes, waits: readonly ElsewhereWait[]): Promise<void> {
  const ids = waits.map(({ id }) => id);
  const [results, failures] = await Promise.all([
    values.redis.hmgetBuffer(values.key, ...ids),
    errors.redis.hmgetBuffer(errors.key, ...ids),
  ]);
  for (const [i, wait] of waits.entries()) {
    const value = results[i];
    const error = failures[i];
    if (value) wait.settle(value);
    else if (error) wait.settle(resultErrorOf(wait.id, parseHeader(error)));
  }
}
