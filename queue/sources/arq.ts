/**
 * arq (seen: 0.28.0). Its blind spots for a reader of one number:
 *
 * - One sorted set per queue holds all jobs by due time in ms, running ones too until they end, so what counts is its range up to
 *   now, of which those with a key `arq:in-progress:ID` are running. The workers take from it by time: nothing moves what is due.
 * - A worker that was killed leaves that key for the longest time that its jobs may take and 10 s; only then others take them.
 * - Payloads expire, by default after a day, and the job stays in the set until a worker takes and discards it, so it counts.
 * - Which worker runs a job is in no key; neither is how many workers there are.
 * - An empty queue leaves no key, so a wrong name looks like a queue without jobs.
 */
import type { Ask } from './ask.ts';
import { delayedIn, MILLISECONDS } from './delayed.ts';
import { count, countNamed, lowestScore, waking, type Moment } from './question.ts';
import type { Source, SourceCounts } from './source.ts';

export interface ArqSettings {
  /** Their keys: `arq:queue`, unless workers and clients name another. */
  readonly queues: readonly string[];
}

/** Running jobs are the oldest of a queue; of those beyond, running ones count as waiting. */
const MOST_RUNNING = 1_000;
const IN_PROGRESS = 'arq:in-progress:';

export function arqSource({ queues }: ArqSettings): Source {
  return {
    kind: 'arq',
    read: (ask, horizonMs) => Promise.all(queues.map((queue) => readQueue(ask, queue, horizonMs))),
    // a job is marked as running before it runs, and stays in its queue until it has ended
    holding: { by: 'count', lagMs: 0 },
  };
}

async function readQueue(ask: Ask, queue: string, horizonMs: number): Promise<SourceCounts> {
  const { now, answers } = await ask({
    all: waking(count('ZCARD', queue)),
    work: count('ZCOUNT', queue, '-inf', at(0)),
    running: countNamed(queue, IN_PROGRESS, { from: '-inf', to: at(0), most: MOST_RUNNING }),
    delayed: count('ZCOUNT', queue, after(0), '+inf'),
    dueSoon: count('ZCOUNT', queue, after(0), at(horizonMs)),
    lowest: lowestScore(queue, after(0)),
  });
  const { work, running } = answers;
  return {
    now,
    waiting: Math.max(0, work - running),
    inHand: Math.min(work, running),
    ...delayedIn({ ...answers, due: 0 }, MILLISECONDS),
  };
}

function at(plusMs: number): Moment {
  return { plusMs: Math.round(plusMs), factor: MILLISECONDS.factor, offset: 0 };
}

function after(plusMs: number): Moment {
  return { ...at(plusMs), exclusive: true };
}
