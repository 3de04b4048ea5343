/**
 * The last quarter of an hour of a pool, in memory, in steps of two seconds.
 *
 * A minute with observations is one small array; minutes without any, and those that are too old, take no memory. So a busy
 * pool costs some 20 kB and an idle one nothing. Between observations a pool is in its last observed state: an idle one is read
 * twice a minute, and nothing has happened in between.
 */
import type { Observation } from '../observe/observation.ts';
import { quantileOf, withValue, type BucketCounts } from '../decide/target-wait/histogram.ts';
import { waitQuantile, type Wait } from '../decide/target-wait/waits.ts';
import type { Column, Series } from './api.ts';

export const STEP_MS = 2_000;
export const SPAN_MS = 15 * 60_000;
export const SPARK_MS = 15_000;

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
const LEVELS = 5;
const MINUTE_MS = 60_000;
const STEPS = MINUTE_MS / STEP_MS;

interface Minute {
  /** One row of `COLUMNS` for each step; NaN where nothing was observed. */
  readonly values: Float32Array;
  waits: BucketCounts;
  arrived: number;
  finished: number;
}

export interface RecentSeries {
  add(observation: Observation): void;
  /** The last one that was added. */
  readonly latest: Observation | undefined;
  /** Waits of the tasks that were taken in this minute and the one before, and tasks a second. */
  recent(now: number): {
    readonly p50: number | null;
    readonly p95: number | null;
    readonly arriving: number;
    readonly finishing: number;
  };
  /** All steps until now, or those from `from`. */
  read(now: number, from?: number): Series;
  /** The most that waited in each `SPARK_MS`, the newest last. */
  spark(now: number): { readonly at: number; readonly values: readonly number[] };
  /** Minutes that are kept. */
  readonly size: number;
}

export function createSeries(): RecentSeries {
  const minutes = new Map<number, Minute>();
  let latest: Observation | undefined;
  /** The time of the first observation; what was before it is unknown. */
  let since = Infinity;
  /** The state of the pool at the beginning of the oldest kept minute. */
  let before: readonly number[] | undefined;
  let open: { step: number; waits: Wait[] } = { step: -1, waits: [] };

  function minuteAt(at: number): Minute {
    const number = Math.floor(at / MINUTE_MS);
    let minute = minutes.get(number);
    if (!minute) {
      const values = new Float32Array(STEPS * COLUMNS.length).fill(Number.NaN);
      minute = { values, waits: [], arrived: 0, finished: 0 };
      minutes.set(number, minute);
    }
    return minute;
  }

  /** Drops minutes that are too old, and keeps their last state. */
  function trim(now: number): void {
    for (const [number, { values }] of minutes) {
      // a clock that was set back leaves minutes that have not come yet
      if (number * MINUTE_MS > now) minutes.delete(number);
      if (number * MINUTE_MS > now || (number + 1) * MINUTE_MS > now - SPAN_MS) continue;
      for (let step = 0; step < STEPS; step++) {
        const row = values.subarray(step * COLUMNS.length, step * COLUMNS.length + LEVELS);
        if (!Number.isNaN(row[0])) before = [...row];
      }
      minutes.delete(number);
    }
  }

  function add(observation: Observation): void {
    const { at, waits, arrived, completed, failed } = observation;
    trim(at);
    const same = isSame(observation, latest);
    latest = observation;
    if (at < since) {
      since = at;
      before = levelsOf(observation);
    }
    if (same) return;
    const minute = minuteAt(at);
    const step = Math.floor(at / STEP_MS);
    if (open.step !== step) open = { step, waits: [] };
    open.waits.push(...waits);
    for (const { waitMs, tasks } of waits) minute.waits = withValue(minute.waits, waitMs, tasks, 1e6);
    minute.arrived += arrived;
    minute.finished += completed + failed;
    const row = (step % STEPS) * COLUMNS.length;
    const { values } = minute;
    const old = (index: number): number => values[row + index] || 0;
    values.set(
      [
        ...levelsOf({ ...observation, waiting: Math.max(observation.waiting, old(0)) }),
        waitQuantile(open.waits, 0.5) ?? Number.NaN,
        waitQuantile(open.waits, 0.95) ?? Number.NaN,
        old(7) + arrived,
        old(8) + completed + failed,
      ],
      row,
    );
  }

  function read(now: number, from = now - SPAN_MS): Series {
    trim(now);
    const first = Math.floor(Math.max(from, now - SPAN_MS) / STEP_MS);
    const last = Math.floor(now / STEP_MS);
    const columns = COLUMNS.map((): (number | null)[] => []);
    let level = levelBefore(first);
    for (let step = first; step <= last; step++) {
      const row = rowAt(step);
      const seen = row !== undefined && !Number.isNaN(row[0]);
      if (seen) level = row.subarray(0, LEVELS);
      columns.forEach((column, i) => {
        const known = (step + 1) * STEP_MS > since;
        const value = i < LEVELS && known ? level?.[i] : seen ? row[i] : undefined;
        column.push(value === undefined || Number.isNaN(value) ? null : round(value));
      });
    }
    return {
      from: first * STEP_MS,
      stepMs: STEP_MS,
      columns: byColumn((_, i) => columns[i] ?? []),
    };
  }

  function rowAt(step: number): Float32Array | undefined {
    const row = (step % STEPS) * COLUMNS.length;
    return minutes.get(Math.floor(step / STEPS))?.values.subarray(row, row + COLUMNS.length);
  }

  function levelBefore(first: number): ArrayLike<number> | undefined {
    let level: ArrayLike<number> | undefined = before;
    for (const [number, { values }] of minutes)
      for (let step = 0; step < STEPS && number * STEPS + step < first; step++) {
        const row = values.subarray(step * COLUMNS.length, step * COLUMNS.length + LEVELS);
        if (!Number.isNaN(row[0])) level = row;
      }
    return level;
  }

  function spark(now: number): { at: number; values: number[] } {
    trim(now);
    const count = SPAN_MS / SPARK_MS;
    const newest = Math.floor(now / SPARK_MS);
    const per = SPARK_MS / STEP_MS;
    const values = Array.from<number>({ length: count }).fill(0);
    for (const [number, minute] of minutes)
      for (let step = 0; step < STEPS; step++) {
        const index = Math.floor((number * STEPS + step) / per) - newest + count - 1;
        const value = minute.values[step * COLUMNS.length] || 0;
        if (index >= 0 && index < count && value > (values[index] ?? 0)) values[index] = value;
      }
    return { at: newest * SPARK_MS, values };
  }

  return {
    add,
    get latest() {
      return latest;
    },
    get size() {
      return minutes.size;
    },
    recent: (now) => {
      const number = Math.floor(now / MINUTE_MS);
      const lately = [minutes.get(number - 1), minutes.get(number)].filter((one) => one !== undefined);
      const seconds = (now - (number - 1) * MINUTE_MS) / 1_000;
      const sum = (of: (minute: Minute) => number): number =>
        lately.reduce((total, one) => total + of(one), 0);
      const [older = [], newer = []] = lately.map(({ waits }) => waits);
      const waits = Array.from(
        { length: Math.max(older.length, newer.length) },
        (_, i) => (older[i] ?? 0) + (newer[i] ?? 0),
      );
      const none = waits.length === 0;
      return {
        p50: none ? null : round(quantileOf(waits, 0.5)),
        p95: none ? null : round(quantileOf(waits, 0.95)),
        arriving: round(sum(({ arrived }) => arrived) / seconds),
        finishing: round(sum(({ finished }) => finished) / seconds),
      };
    },
    read,
    spark,
  };
}

function byColumn<T>(of: (name: Column, index: number) => T): Record<Column, T> {
  return Object.fromEntries(COLUMNS.map((name, i) => [name, of(name, i)])) as Record<Column, T>;
}

function levelsOf({ waiting, inFlight, replicas, ready, desired }: Observation): number[] {
  return [waiting, inFlight, replicas, ready, desired];
}

/** Nothing has happened, and no level differs. */
function isSame(now: Observation, before: Observation | undefined): boolean {
  const { arrived, taken, completed, failed, waits } = now;
  if (arrived + taken + completed + failed + waits.length > 0) return false;
  const levels = before ? levelsOf(before) : [0, 0];
  return levels.every((value, i) => value === levelsOf(now)[i]);
}

/** Three digits are more than a chart shows. */
function round(value: number): number {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}
