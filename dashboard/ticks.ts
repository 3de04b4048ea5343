/** Positions and labels of the times below a chart, and the times of the table beside it. Pure, except for the time zone. */

const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 86_400_000;

/** Steps of the time axis, ms: whole days over more than a day and a half, so that no two labels are the same. */
export function distances(spanMs: number): number[] {
  if (spanMs > 1.5 * DAY) return [DAY, 2 * DAY, 7 * DAY];
  return [
    ...[15, 30].map((n) => n * SECOND),
    ...[1, 2, 5, 10, 30].map((n) => n * MINUTE),
    ...[1, 2, 3, 6, 12].map((n) => n * HOUR),
  ];
}

/**
 * The indexes of the times that a table shows, the latest first: at most `most` besides the last. They are the first ones of each
 * minute, say, so that they stay as time passes and nobody loses the row that they read.
 */
export function rowsOf(times: readonly number[], most: number): number[] {
  const last = times.length - 1;
  const span = (times[last] ?? 0) - (times[0] ?? 0);
  const apart = distances(0).find((distance) => span / distance <= most) ?? DAY;
  const periodOf = (i: number): number => Math.floor((times[i] ?? 0) / apart);
  const indexes = times
    .map((_, i) => i)
    .filter((i) => i === last || (i > 0 && periodOf(i) !== periodOf(i - 1)));
  return indexes.toReversed();
}

/** `17:18`, `17:18:15` where they are less than a minute apart, and the date instead of midnight or of a whole day. */
export function timesAt(ticks: readonly number[]): string[] {
  const apart = (ticks[1] ?? Infinity) - (ticks[0] ?? 0);
  return ticks.map((tick) => {
    const date = new Date(tick);
    const midnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
    if (midnight || (apart >= 0.9 * DAY && apart < Infinity))
      return date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
    const seconds = apart < MINUTE ? { second: '2-digit' as const } : {};
    return date.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', ...seconds });
  });
}
