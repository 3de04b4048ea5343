/**
 * What was observed of a pool lately, by minutes of steps of two seconds. A minute without observations is not there, and those
 * that are too old are dropped; the state at the beginning of the oldest is kept.
 */
import type { BucketCounts } from '../decide/target-wait/histogram.ts';
import type { Column } from './api.ts';

export const STEP_MS = 2_000;
export const SPAN_MS = 15 * 60_000;
export const MINUTE_MS = 60_000;

export const COLUMNS = [
  'waiting',
  'inFlight',
  'replicas',
  'ready',
  'desired',
  'waitP50',
  'waitP95',
  'arrived',
  'finished',
] as const satisfies readonly Column[];

/** The first five keep their value between observations; of the others, no observation means none. */
export const LEVELS = 5;
const STEPS = MINUTE_MS / STEP_MS;

export interface Minute {
  /** One row of `COLUMNS` for each step; NaN where nothing was observed. */
  readonly values: Float32Array;
  waits: BucketCounts;
  arrived: number;
  finished: number;
}

export interface Minutes {
  /** The minute of a time, made if it is not there. */
  of(at: number): Minute;
  /** The minute with this number since 1970, if it is there. */
  get(number: number): Minute | undefined;
  /** The row of a step, numbered since 1970, if its minute is there. */
  row(step: number): Float32Array | undefined;
  /** All rows that are there, the oldest first, by their steps. */
  rows(): Iterable<readonly [step: number, row: Float32Array]>;
  /** The state of the pool before this step. */
  levelsBefore(step: number): ArrayLike<number> | undefined;
  /** What the state was before the first observation. */
  begin(levels: readonly number[]): void;
  /** Drops minutes that are too old, and keeps their last state. */
  trim(now: number): void;
  readonly size: number;
}

export function createMinutes(): Minutes {
  const minutes = new Map<number, Minute>();
  /** The state of the pool at the beginning of the oldest kept minute. */
  let before: readonly number[] | undefined;

  function* rows(): Iterable<readonly [number, Float32Array]> {
    for (const [number, { values }] of minutes)
      for (let step = 0; step < STEPS; step++) yield [number * STEPS + step, rowOf(values, step)];
  }

  return {
    of: (at) => {
      const number = Math.floor(at / MINUTE_MS);
      const known = minutes.get(number);
      if (known) return known;
      const values = new Float32Array(STEPS * COLUMNS.length).fill(Number.NaN);
      const made = { values, waits: [], arrived: 0, finished: 0 };
      minutes.set(number, made);
      return made;
    },
    get: (number) => minutes.get(number),
    row: (step) => {
      const minute = minutes.get(Math.floor(step / STEPS));
      return minute && rowOf(minute.values, step % STEPS);
    },
    rows,
    levelsBefore: (first) => {
      let levels: ArrayLike<number> | undefined = before;
      for (const [step, row] of rows()) if (step < first && isSeen(row)) levels = row;
      return levels;
    },
    begin: (levels) => {
      before = levels;
    },
    trim: (now) => {
      for (const [number, { values }] of minutes) {
        // a clock that was set back leaves minutes that have not come yet
        if (number * MINUTE_MS > now) minutes.delete(number);
        if (number * MINUTE_MS > now || (number + 1) * MINUTE_MS > now - SPAN_MS) continue;
        for (let step = 0; step < STEPS; step++) {
          const row = rowOf(values, step);
          if (isSeen(row)) before = [...row.subarray(0, LEVELS)];
        }
        minutes.delete(number);
      }
    },
    get size() {
      return minutes.size;
    },
  };
}

function rowOf(values: Float32Array, step: number): Float32Array {
  return values.subarray(step * COLUMNS.length, (step + 1) * COLUMNS.length);
}

/** Whether something was observed in the step of this row. */
export function isSeen(row: Float32Array | undefined): row is Float32Array {
  return row !== undefined && !Number.isNaN(row[0]);
}
