/**
 * The daily and weekly pattern of a pool: the mean need in each quarter of an hour of the day, and of the week, over past days
 * and weeks (in UTC). As a floor it saves the starts at the beginning of a rush, and costs idling where the rush does not come.
 * Both are summed up all the time, whether the floor is used or not; only a pattern that would have paid for itself decides
 * anything. A forecast can raise the number of replicas and never lower it. Pure.
 */
export interface Pattern {
  /** Mean need by quarter of an hour; `null` where none was seen yet. */
  readonly needs: readonly (number | null)[];
  /** Fading sums of the idling that the floor would have saved in starts, and of what it would have idled, replica-ms. */
  readonly saved: number;
  readonly idled: number;
}

export interface Forecast {
  readonly day: Pattern;
  readonly week: Pattern;
  /** The quarter of an hour that is going on, and for how long it was seen, ms. */
  readonly bin: { readonly from: number; readonly replicaMs: number; readonly seenMs?: number };
}

export const BIN_MS = 900_000;
const DAY = 96;
const WEEK = 7 * DAY;
/** How much of a pattern the newest period is. */
const NEWEST = { day: 0.3, week: 0.4 } as const;
/** Per quarter of an hour: sums are halved in about a week, and in about a month. */
const FADE = { day: 0.999, week: 0.99975 } as const;
/** A pattern has to pay by this factor: it decides for the future, not for the past. */
const MARGIN = 1.2;

const noPattern: Pattern = { needs: [], saved: 0, idled: 0 };

export interface ForecastInput {
  /** ms since the epoch. */
  readonly now: number;
  /** Since the last sample, ms. */
  readonly elapsedMs: number;
  /** Replicas needed or kept at the last sample, and those needed now, without any floor. */
  readonly held: number;
  readonly needed: number;
  /** Idling that a start is worth, ms. */
  readonly startMs: number;
}

/** After a sample. */
export function updateForecast(before: Forecast | undefined, seen: ForecastInput): Forecast {
  const from = Math.floor(seen.now / BIN_MS) * BIN_MS;
  const { day, week, bin } = before ?? {
    day: noPattern,
    week: noPattern,
    bin: { from, replicaMs: 0, seenMs: 0 },
  };
  const counted = {
    day: withTrial(day, floorOf(day, seen.now, DAY), seen),
    week: withTrial(week, floorOf(week, seen.now, WEEK), seen),
  };
  const ms = Math.min(seen.elapsedMs, BIN_MS);
  const { replicaMs, seenMs = BIN_MS } = bin;
  const longer = { from: bin.from, replicaMs: replicaMs + seen.held * ms, seenMs: seenMs + ms };
  if (from === bin.from) return { ...counted, bin: longer };
  return {
    day: withBin(counted.day, longer, DAY, 'day'),
    week: withBin(counted.week, longer, WEEK, 'week'),
    bin: { from, replicaMs: 0, seenMs: 0 },
  };
}

/** Replicas that the pool will need at `at` if the pattern holds; 0 where no pattern pays. */
export function forecastFloor(forecast: Forecast | undefined, at: number): number {
  if (!forecast) return 0;
  const { day, week } = forecast;
  return Math.max(pays(day) ? floorOf(day, at, DAY) : 0, pays(week) ? floorOf(week, at, WEEK) : 0);
}

function pays({ saved, idled }: Pattern): boolean {
  return saved > MARGIN * idled;
}

function floorOf({ needs }: Pattern, at: number, period: number): number {
  return Math.round(needs[binOf(at, period)] ?? 0);
}

function withTrial(
  pattern: Pattern,
  floor: number,
  { elapsedMs, held, needed, startMs }: ForecastInput,
): Pattern {
  if (floor === 0) return pattern;
  const starts = Math.max(0, Math.min(needed, floor) - Math.min(held, floor));
  const idle = Math.max(0, floor - held) * Math.min(elapsedMs, BIN_MS);
  return { ...pattern, saved: pattern.saved + starts * startMs, idled: pattern.idled + idle };
}

/** The place of a moment in the period; before 1970, too. */
function binOf(at: number, period: number): number {
  const index = Math.floor(at / BIN_MS) % period;
  return index < 0 ? index + period : index;
}

function withBin(pattern: Pattern, bin: Forecast['bin'], period: number, kind: 'day' | 'week'): Pattern {
  const needs = Array.from({ length: period }, (_, i) => pattern.needs[i] ?? null);
  const index = binOf(bin.from, period);
  // a clock that was set sees a quarter of an hour twice, or hardly
  const mean = bin.replicaMs / Math.max(bin.seenMs ?? BIN_MS, BIN_MS);
  const before = needs[index] ?? null;
  const value = before === null ? mean : before + NEWEST[kind] * (mean - before);
  needs[index] = Math.round(value * 100) / 100;
  return { needs, saved: pattern.saved * FADE[kind], idled: pattern.idled * FADE[kind] };
}
