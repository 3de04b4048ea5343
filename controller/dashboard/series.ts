/**
 * The last quarter of an hour of a pool, in memory, in steps of two seconds.
 *
 * A minute with observations is one small array; minutes without any, and those that are too old, take no memory. So a busy
 * pool costs some 20 kB and an idle one nothing. Between observations a pool is in its last observed state: an idle one is read
 * twice a minute, and nothing has happened in between.
 */
import type { Observation } from '../observe/observation.ts';
import { quantileOf, withValue } from '../decide/target-wait/histogram.ts';
import { waitQuantile, type Wait } from '../decide/target-wait/waits.ts';
import type { Column, Series } from './api.ts';

import {
  COLUMNS,
  createMinutes,
  isSeen,
  LEVELS,
  MINUTE_MS,
  SPAN_MS,
  STEP_MS,
  type Minute,
  type Minutes,
} from './minutes.ts';

export const SPARK_MS = 15_000;

/** Waits of the tasks that were taken in this minute and the one before, and tasks a second. */
interface Rates {
  readonly p50: number | null;
  readonly p95: number | null;
  readonly arriving: number;
  readonly finishing: number;
}

interface Spark {
  readonly at: number;
  readonly values: readonly number[];
}

export interface RecentSeries {
  add(observation: Observation): void;
  /** The last one that was added. */
  readonly latest: Observation | undefined;
  recent(now: number): Rates;
  /** All steps until now, or those from `from`. */
  read(now: number, from?: number): Series;
  /** The most that waited in each `SPARK_MS`, the newest last. */
  spark(now: number): Spark;
  /** Minutes that are kept. */
  readonly size: number;
}

export function createSeries(): RecentSeries {
  const minutes = createMinutes();
  let latest: Observation | undefined;
  /** The time of the first observation; what was before it is unknown. */
  let since = Infinity;
  let open: { step: number; waits: Wait[] } = { step: -1, waits: [] };
  return {
    add: (observation) => {
      const { at, waits } = observation;
      minutes.trim(at);
      const same = isSame(observation, latest);
      latest = observation;
      if (at < since) {
        since = at;
        minutes.begin(levelsOf(observation));
      }
      if (same) return;
      const step = Math.floor(at / STEP_MS);
      if (open.step !== step) open = { step, waits: [] };
      open.waits.push(...waits);
      addTo(minutes, step, observation, open.waits);
    },
    get latest() {
      return latest;
    },
    get size() {
      return minutes.size;
    },
    recent: (now) => {
      const number = Math.floor(now / MINUTE_MS);
      const lately = [minutes.get(number - 1), minutes.get(number)].filter((one) => one !== undefined);
      return ratesOf(lately, (now - (number - 1) * MINUTE_MS) / 1_000);
    },
    read: (now, from = now - SPAN_MS) => {
      minutes.trim(now);
      const first = Math.floor(Math.max(from, now - SPAN_MS) / STEP_MS);
      return columnsOf(minutes, { first, last: Math.floor(now / STEP_MS), since });
    },
    spark: (now) => {
      minutes.trim(now);
      return sparkOf(minutes, Math.floor(now / SPARK_MS));
    },
  };
}

/** Adds an observation to its minute, and to the row of its step; `waits` are all of this step. */
function addTo(minutes: Minutes, step: number, observation: Observation, waits: readonly Wait[]): void {
  const { at, arrived, completed, failed } = observation;
  const minute = minutes.of(at);
  for (const { waitMs, tasks } of observation.waits)
    minute.waits = withValue(minute.waits, waitMs, tasks, 1e6);
  minute.arrived += arrived;
  minute.finished += completed + failed;
  const row = minutes.row(step);
  const old = (index: number): number => row?.[index] || 0;
  row?.set([
    ...levelsOf({ ...observation, waiting: Math.max(observation.waiting, old(0)) }),
    waitQuantile(waits, 0.5) ?? Number.NaN,
    waitQuantile(waits, 0.95) ?? Number.NaN,
    old(7) + arrived,
    old(8) + completed + failed,
  ]);
}

interface Steps {
  readonly first: number;
  readonly last: number;
  /** Time of the first observation. */
  readonly since: number;
}

/** Each column of these steps: a level keeps its value, of the others no observation means none. */
function columnsOf(minutes: Minutes, { first, last, since }: Steps): Series {
  const columns = COLUMNS.map((): (number | null)[] => []);
  let levels = minutes.levelsBefore(first);
  for (let step = first; step <= last; step++) {
    const row = minutes.row(step);
    const seen = isSeen(row);
    if (seen) levels = row;
    columns.forEach((column, i) => {
      const known = (step + 1) * STEP_MS > since;
      const value = i < LEVELS && known ? levels?.[i] : seen ? row[i] : undefined;
      column.push(value === undefined || Number.isNaN(value) ? null : round(value));
    });
  }
  return { from: first * STEP_MS, stepMs: STEP_MS, columns: byColumn((_, i) => columns[i] ?? []) };
}

/** The most that waited in each `SPARK_MS`, up to the one numbered `newest`. */
function sparkOf(minutes: Minutes, newest: number): Spark {
  const count = SPAN_MS / SPARK_MS;
  const values = Array.from<number>({ length: count }).fill(0);
  for (const [step, row] of minutes.rows()) {
    const index = Math.floor((step * STEP_MS) / SPARK_MS) - newest + count - 1;
    const value = row[0] || 0;
    if (index >= 0 && index < count && value > (values[index] ?? 0)) values[index] = value;
  }
  return { at: newest * SPARK_MS, values };
}

/** What happened in at most two minutes, of which `seconds` have passed. */
function ratesOf(lately: readonly Minute[], seconds: number): Rates {
  const sum = (of: (minute: Minute) => number): number => lately.reduce((total, one) => total + of(one), 0);
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
