/**
 * Decodes replies of a Redis that may be any server: each value has its type, or the whole reply is refused. Pure.
 */
import { plainText } from '../../runtime/plain-text.ts';

/** A reply does not have the form that its command returns. */
export class UnexpectedReply extends Error {
  override name = 'UnexpectedReply';
  constructor(what: string, found: unknown) {
    super(`expected ${what}, got ${shown(found)}`);
  }
}

function shown(value: unknown): string {
  if (Buffer.isBuffer(value)) return JSON.stringify(plainText(value.toString('utf8', 0, 200), 40));
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return plainText(String(value), 40);
}

/** A safe integer of at least 0. */
export function asCount(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new UnexpectedReply(`${what} as a count`, value);
}

/** A number that is stored as text, 0 if absent; counters may be negative after their hash was deleted. */
export function asCounter(value: unknown, what: string): number {
  if (value === null) return 0;
  const number = Buffer.isBuffer(value) ? counterIn(value) : undefined;
  if (number !== undefined) return number;
  throw new UnexpectedReply(`${what} as a counter`, value);
}

/** The same; 0 for a text that is no counter, because something else wrote it, as for the next turn that adds to it. */
export function asCounterOrZero(value: unknown, what: string): number {
  if (value === null) return 0;
  return counterIn(asBytes(value, `${what} as a counter`)) ?? 0;
}

function counterIn(text: Buffer): number | undefined {
  const number = text.length > 0 ? Number(text.toString()) : Number.NaN;
  return Math.abs(number) <= Number.MAX_SAFE_INTEGER ? number : undefined;
}

/** A time, ms; `undefined` for an empty text. One out of range is clamped: never, or long ago. */
export function asMoment(value: unknown, what: string): number | undefined {
  const score = asBytes(value, what);
  if (score.length === 0) return undefined;
  const time = scoreIn(score.toString());
  if (Number.isNaN(time)) throw new UnexpectedReply(`${what} as a time`, value);
  return Math.min(Math.max(0, time), Number.MAX_SAFE_INTEGER);
}

/** The last moment with a year of four digits, which every format of a time has, ms. */
const LAST_TIME = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** A whole number of ms since 1970 that is a time for people, too. */
export function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= LAST_TIME;
}

/** A score of a sorted set as Redis writes it; NaN for any other text. */
export function scoreIn(text: string): number {
  return Number(text.replace('inf', 'Infinity'));
}

export function asBytes(value: unknown, what: string): Buffer {
  if (Buffer.isBuffer(value)) return value;
  throw new UnexpectedReply(what, value);
}

/** A text of at most `most` characters. */
export function asText(value: unknown, what: string, most = 1_024): string {
  return asBytes(value, what)
    .toString('utf8', 0, 4 * most)
    .slice(0, most);
}

/** An array; with `length`, of that many elements. */
export function asList(value: unknown, what: string, length?: number): readonly unknown[] {
  if (Array.isArray(value) && (length === undefined || value.length === length)) return value;
  throw new UnexpectedReply(length === undefined ? what : `${what} as ${length} values`, value);
}
