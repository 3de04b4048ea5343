/** Delayed tasks in a sorted set by due time, as most libraries have them: how many, which are due, and when the next one is. */
import type { Answers } from './ask.ts';
import { count, lowestScore, waking, type Moment, type Question } from './question.ts';

/** What a score means: due time in ms × `factor`, and up to `slack` more for tasks of the same ms. */
export interface ScoreUnit {
  readonly factor: number;
  readonly slack?: number;
}

export const SECONDS: ScoreUnit = { factor: 0.001 };
export const MILLISECONDS: ScoreUnit = { factor: 1 };

type DelayedQuestions = {
  readonly delayed: Question<number>;
  readonly due: Question<number>;
  readonly dueSoon: Question<number>;
  readonly lowest: Question<number | undefined>;
};

/** Four commands. */
export function askDelayed(key: string, unit: ScoreUnit, horizonMs: number): DelayedQuestions {
  const moment = (plusMs: number, exclusive = false): Moment => ({
    plusMs,
    factor: unit.factor,
    offset: unit.slack ?? 0,
    exclusive,
  });
  const until = Math.round(horizonMs);
  return {
    delayed: waking(count('ZCARD', key)),
    due: count('ZCOUNT', key, '-inf', moment(0)),
    dueSoon: count('ZCOUNT', key, moment(0, true), moment(until)),
    lowest: lowestScore(key),
  };
}

export function delayedIn(
  { delayed, due, dueSoon, lowest }: Answers<DelayedQuestions>,
  { factor }: ScoreUnit,
): { delayed: number; due: number; dueSoon: number; nextDue: number | undefined } {
  return { delayed, due, dueSoon, nextDue: lowest === undefined ? undefined : dueAt(lowest, { factor }) };
}

/** When a task with this score falls due, ms. Anybody may have written it: one out of range is never, or long ago. */
export function dueAt(score: number, { factor }: ScoreUnit): number {
  return Math.min(Math.max(0, Math.floor(score / factor)), Number.MAX_SAFE_INTEGER);
}
