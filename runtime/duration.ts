/**
 * Durations as Go and Kubernetes write them (`1m30s`, `250ms`, `1.5h`, `0`), to and from milliseconds.
 *
 * The sum is taken in whole nanoseconds, as Go's `time.ParseDuration` does, so that `4.35s` is exactly 4350 ms
 * and not the nearest thing that floating point makes of it. Stricter than Go in one way: no sign, because no
 * duration of ours can be negative.
 */

/** Nanoseconds. */
const MICROSECOND = 1_000n;
const MILLISECOND = 1_000_000n;
const SECOND = 1_000_000_000n;
const MINUTE = 60n * SECOND;
const HOUR = 60n * MINUTE;

const UNITS = new Map([
  ['ns', 1n],
  ['us', MICROSECOND],
  ['\u00b5s', MICROSECOND], // The micro sign,
  ['\u03bcs', MICROSECOND], // and the Greek letter that looks the same.
  ['ms', MILLISECOND],
  ['s', SECOND],
  ['m', MINUTE],
  ['h', HOUR],
]);

const TERM = /(\d+(?:\.\d*)?|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/gy;

/** Go's own limit, a signed 64-bit count of nanoseconds: about 292 years. */
const MAX_NANOSECONDS = 2n ** 63n - 1n;
/** The same in whole ms: no delay of ours is longer. */
export const LONGEST_MS = Number(MAX_NANOSECONDS / MILLISECOND);

/**
 * Milliseconds of a duration in Go's notation; fractions of a millisecond are kept, down to nanoseconds.
 *
 * Throws `RangeError` in one line that says what is accepted.
 */
export function parseDuration(text: string): number {
  if (text === '0') return 0;
  let total = 0n;
  let end = 0;
  for (const match of text.matchAll(TERM)) {
    const [term, number = '', unit = ''] = match;
    total += nanoseconds(number, UNITS.get(unit) ?? 0n);
    end = match.index + term.length;
  }
  if (end === 0 || end !== text.length) throw new RangeError(explain(text));
  if (total > MAX_NANOSECONDS) {
    throw new RangeError(`${quote(text)} is too long for a duration: the most is about 292 years (2562047h)`);
  }
  // Whole milliseconds and the rest apart: together they may have more digits than a number holds.
  return Number(total / MILLISECOND) + Number(total % MILLISECOND) / 1e6;
}

/**
 * The short form of a duration in milliseconds: `90000` is `1m30s`, `1500` is `1.5s`, `0` is `0s`. Rounded to
 * nanoseconds; `parseDuration` reads it back.
 *
 * Throws `RangeError` for a number that is negative, not finite, or more than Go's 292 years.
 */
export function formatDuration(ms: number): string {
  const whole = Math.trunc(ms);
  const valid = Number.isFinite(ms) && ms >= 0 && BigInt(whole) * MILLISECOND <= MAX_NANOSECONDS;
  if (!valid)
    throw new RangeError(`${ms} ms is not a duration: it must be 0 or more, and at most about 292 years`);
  const total = BigInt(whole) * MILLISECOND + BigInt(Math.round((ms - whole) * 1e6));
  if (total === 0n) return '0s';
  if (total < MICROSECOND) return `${total}ns`;
  if (total < MILLISECOND) return `${decimal(total, 3)}us`;
  if (total < SECOND) return `${decimal(total, 6)}ms`;
  const hours = total / HOUR;
  const minutes = (total % HOUR) / MINUTE;
  const rest = total % MINUTE;
  return [
    hours > 0n ? `${hours}h` : '',
    minutes > 0n ? `${minutes}m` : '',
    rest > 0n ? `${decimal(rest, 9)}s` : '',
  ].join('');
}

/** A decimal number times a unit; digits below a nanosecond are dropped, as Go does. */
function nanoseconds(number: string, unit: bigint): bigint {
  const [whole = '', fraction = ''] = number.split('.');
  return BigInt(whole) * unit + (BigInt(fraction) * unit) / 10n ** BigInt(fraction.length);
}

/** `value / 10^places`, without trailing zeros. */
function decimal(value: bigint, places: number): string {
  const digits = value.toString().padStart(places + 1, '0');
  const fraction = digits.slice(-places).replace(/0+$/, '');
  const whole = digits.slice(0, -places);
  return fraction === '' ? whole : `${whole}.${fraction}`;
}

function explain(text: string): string {
  return (
    `${quote(text)} is not a duration: write numbers with a unit each (ns, us, ms, s, m, h), ` +
    'such as 250ms, 10s, 1m30s or 1.5h'
  );
}

function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
