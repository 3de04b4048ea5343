/**
 * The history of a pool over the last week: a STREAM beside its first queue, `…:timeline:<namespace>/<name>`, with at most
 * one entry for each ten seconds while something happens. Without an entry, everything stayed as the previous one left it.
 *
 * The id of an entry is when its stretch ended, by the clock of Redis, and a random number, by which one that is sent again is known. It has
 * one field, `v`, with numbers in the order of NUMBERS, separated by spaces, without zeros at the end: a field for each would take as much
 * room, and ten times as long to read. Numbers may be added at the end; readers take missing ones for 0 and ignore unknown ones.
 */
import { randomInt } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { readCut } from '../scripts/read.ts';
import { asList, asText } from '../scripts/decode-reply.ts';
import { script } from '../scripts/scripts.ts';

export interface TimelineEntry {
  /** When the stretch ended, ms of Redis time, and how long it was, ms. */
  readonly at: number;
  readonly spanMs: number;
  /** Means over the stretch, and the most that waited. */
  readonly waiting: number;
  readonly inFlight: number;
  /** Replicas that existed, those that were ready, and at the end the desired ones. */
  readonly replicas: number;
  readonly ready: number;
  readonly desired: number;
  readonly mostWaiting: number;
  readonly arrived: number;
  readonly taken: number;
  readonly completed: number;
  /** Sum of the service times of tasks that completed, failed or will be retried, ms. */
  readonly serviceMs: number;
  /** Waiting times of the taken tasks, ms; 0 when none was taken. */
  readonly waitP50Ms: number;
  readonly waitP95Ms: number;
  readonly waitMaxMs: number;
  /** The most tasks that arrived between two samples, and when they were sampled, ms from the beginning of the stretch. */
  readonly peak: number;
  readonly peakMs: number;
  readonly failed: number;
  readonly retried: number;
  /** At the end of the stretch. */
  readonly delayed: number;
  readonly dead: number;
  /** Replicas that came up, and how long they took in all, ms. */
  readonly starts: number;
  readonly startMs: number;
  /** Time during which the queue could not be read, ms. */
  readonly blindMs: number;
}

const NUMBERS = [
  'spanMs',
  'waiting',
  'inFlight',
  'replicas',
  'ready',
  'desired',
  'mostWaiting',
  'arrived',
  'taken',
  'completed',
  'serviceMs',
  'waitP50Ms',
  'waitP95Ms',
  'waitMaxMs',
  'peak',
  'peakMs',
  'failed',
  'retried',
  'delayed',
  'dead',
  'starts',
  'startMs',
  'blindMs',
] as const satisfies readonly (keyof TimelineEntry)[];

export const TIMELINE_MS = 7 * 24 * 3_600_000;
/** A week of entries, one every ten seconds. */
const MOST = TIMELINE_MS / 10_000;
/** The stream of a pool that is gone, or idle for this long, expires: its last entry is useless by then. */
const EXPIRY_S = (TIMELINE_MS + 24 * 3_600_000) / 1_000;
/** Entries per page: parsing one blocks the event loop. */
const PAGE = 1_000;
/** A week, doubled because trimming is approximate: a server that still has another page is not returning ours. */
const MOST_PAGES = Math.ceil((2 * MOST) / PAGE);
/** Of the numbers in ids: they take 5 bytes. */
const NUMBERS_END = 2 ** 31;
/** An entry has an id, a field and its value; anything longer is not ours. */
const CUT = { bytes: 512, values: 4 * PAGE };

export function packEntry(entry: Omit<TimelineEntry, 'at'>): string {
  const numbers = NUMBERS.map((name) => Math.round(entry[name] * 100) / 100);
  return numbers.slice(0, 1 + numbers.findLastIndex((number) => number !== 0)).join(' ');
}

/** `undefined` for anything but an entry. */
export function parseEntry(id: string, numbers: string | undefined): TimelineEntry | undefined {
  const values = numbers?.split(' ').map(Number) ?? [];
  const at = Number.parseInt(id, 10);
  if (!(Number(values[0]) > 0) || !Number.isSafeInteger(at) || !values.every(isUsual)) return undefined;
  // a busy week has sixty thousand of them: a loop is several times as fast as a more readable expression
  const entry: Partial<Record<keyof TimelineEntry, number>> = { at };
  for (let i = 0; i < NUMBERS.length; i++) entry[NUMBERS[i] ?? 'at'] = values[i] ?? 0;
  return entry as TimelineEntry;
}

/** Can be summed and drawn; any other number was written by another program. */
function isUsual(value: number): boolean {
  return value >= 0 && value <= Number.MAX_SAFE_INTEGER;
}

/**
 * Adds an entry that ends now, once, even if the reply is lost and it is sent again, and drops those older than a week: by the clock of
 * Redis, not the writer's.
 */
export async function appendToTimeline(
  redis: Redis,
  keys: QueueKeys,
  pool: string,
  entry: Omit<TimelineEntry, 'at'>,
): Promise<void> {
  const number = randomInt(1, NUMBERS_END);
  const args = [packEntry(entry), number, MOST, TIMELINE_MS, EXPIRY_S];
  await script(redis, 'timeline')(keys.timeline(pool), ...args);
}

/**
 * The entries of a pool that ended in `since` ≤ t ≤ `until` (ms; unbounded by default), oldest first. With a `limit`, the
 * newest `limit` entries. Reads a page at a time, and stops before the next one when `signal` aborts.
 */
export async function readTimeline(
  redis: Redis,
  keys: QueueKeys,
  pool: string,
  range: {
    readonly since?: number;
    readonly until?: number;
    readonly limit?: number;
    readonly signal?: AbortSignal;
  } = {},
): Promise<TimelineEntry[]> {
  const { since, until, limit = Infinity, signal } = range;
  const first = since === undefined ? '-' : String(Math.ceil(since));
  let end = until === undefined ? '+' : String(Math.floor(until));
  const newestFirst: TimelineEntry[] = [];
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const count = Math.min(PAGE, limit - newestFirst.length);
    if (count <= 0) break;
    signal?.throwIfAborted();
    const read = readCut(redis, keys.timeline(pool), CUT, 'XREVRANGE', end, first, 'COUNT', count);
    const page = asList(await read, 'a page of the timeline');
    let oldest: string | undefined;
    for (const one of page) {
      const [id, fields] = asList(one, 'an entry of the timeline', 2);
      const [, numbers] = asList(fields, 'the fields of an entry');
      oldest = asText(id, 'the id of an entry', 41);
      const entry = parseEntry(oldest, Buffer.isBuffer(numbers) ? numbers.toString() : undefined);
      if (entry) newestFirst.push(entry);
    }
    if (oldest === undefined || page.length < count) break;
    end = before(oldest);
  }
  return newestFirst.toReversed();
}

/** The last id before another one: exclusive ids, `(1-0`, are not supported by every Redis. */
function before(id: string): string {
  const [ms = 0, number = 0] = id.split('-').map(Number);
  return number > 0 ? `${ms}-${number - 1}` : String(ms - 1);
}
