/** The sampler's state of each id whose queues it samples, and when they are read next. */
import type { QueueKeys } from '../../queue/keys.ts';
import type { Source } from '../../queue/sources/source.ts';
import type { QueuesRead } from './read.ts';
import { newSourceEntry, type SourceEntry } from './source-entry.ts';
import { medianOf, withRoundTrip, type RoundTrips } from './round-trip.ts';
import { notYet, type Sampled } from './sampled.ts';

/** Times are by performance.now(). */
export interface Entry {
  readonly queues: readonly QueueKeys[];
  /** Read instead of the queues, which then only say where records are kept. */
  readonly source: SourceEntry | undefined;
  active: boolean;
  horizonMs: number;
  sampled: Sampled;
  quiet: QueuesRead['quiet'];
  roundTrips: RoundTrips;
  /** The queues are being read. */
  reading: boolean;
  /** Read them again when that has ended. */
  readAgain: boolean;
  /** Expired entries are being removed. */
  sweeping: boolean;
  /** When the last read began. */
  readAt: number;
  /** A change was signalled since the last read. */
  woken: boolean;
  /** Reads in a row that the wake caused and that found nothing changed: see `isVain`. */
  vain: number;
  vainAt: number;
  /** A change was signalled since the last read, and not believed because of them. */
  ignored: boolean;
  /** When the next read is due even if nothing happens. */
  safetyAt: number;
  /** When a wake arrived since the last read while all queues were quiet. */
  wokenAt: number | undefined;
}

export function newEntry(queues: readonly QueueKeys[], source?: Source): Entry {
  const still = {
    reading: false,
    readAgain: false,
    sweeping: false,
    woken: false,
    vain: 0,
    vainAt: -Infinity,
    ignored: false,
    wokenAt: undefined,
  };
  const never = { sampled: notYet, quiet: [], roundTrips: [], readAt: -Infinity, safetyAt: -Infinity };
  const own = { queues, source: source && newSourceEntry(source) };
  return { ...own, active: true, horizonMs: 0, ...never, ...still };
}

/** All of its queues are empty and not paused, so a first task would be new. */
export function isQuiet({ quiet, queues }: Entry): boolean {
  return quiet.length === queues.length;
}

/** After this many wakes in a row without a change, it is no coincidence. */
const VAIN = 3;
/** Wakes that are no further apart count as in a row. */
const VAIN_MS = 10_000;

/**
 * The server reports again and again that this queue changed, and it has not: its table of tracked keys is full, and each key
 * that is read pushes another one out. To arm the queue again immediately would keep both busy.
 */
export function isVain({ vain }: Entry): boolean {
  return vain >= VAIN;
}

/** Counts vain wakes after a read. `woken`: a wake caused it; `before`: the previous sample. */
export function countVain(entry: Entry, woken: boolean, before: Sampled): void {
  const { readAt } = entry;
  if (!isQuiet(entry) || !nothingDone(before, entry.sampled)) entry.vain = 0;
  else if (woken) {
    entry.vain = readAt - entry.vainAt < VAIN_MS ? Math.min(entry.vain + 1, VAIN) : 1;
    entry.vainAt = readAt;
  } else if (isVain(entry) && !entry.ignored) entry.vain--;
  entry.ignored = false;
}

function nothingDone(before: Sampled, after: Sampled): boolean {
  if (before.kind === 'unknown' || after.kind === 'unknown') return false;
  const [one, other] = [before.sample, after.sample];
  return one.counters.taken === other.counters.taken && one.delayed === other.delayed;
}

/** Whether it is sampled at each poll. */
export function isOften(entry: Entry, now: number): boolean {
  const { active, sampled } = entry;
  // no wake reports that a queue was resumed
  const paused = sampled.kind === 'known' && sampled.sample.pausedQueues > 0;
  // nor that a task came which limits let begin, where others wait for them
  const limited =
    sampled.kind === 'known' && sampled.sample.limits !== undefined && (sampled.sample.blocked ?? 0) > 0;
  // where no worker reports, only the sampler's reads end leases
  const silent = sampled.kind === 'known' && sampled.sample.silent;
  return (
    active ||
    sampled.kind === 'unknown' ||
    paused ||
    limited ||
    silent ||
    isVain(entry) ||
    nextEventAt(entry) <= now
  );
}

/** When a delayed task comes within the horizon, or the next lease expires unless it is renewed. */
export function nextEventAt({ sampled, readAt, horizonMs }: Entry): number {
  if (sampled.kind !== 'known') return Infinity;
  const { now, nextDue = Infinity, nextExpiry = Infinity } = sampled.sample;
  return readAt + Math.min(nextDue - horizonMs, nextExpiry) - now;
}

/** Stores the outcome of a read on the server of this name. */
export function take(
  entry: Entry,
  { sampled, quiet, roundTripMs }: QueuesRead,
  server: string,
  now: number,
): void {
  entry.roundTrips = withRoundTrip(entry.roundTrips, roundTripMs);
  const median = medianOf(entry.roundTrips);
  const found = median === undefined ? sampled : { ...sampled, redis: { server, roundTripMs: median } };
  const dated = found.kind === 'known' ? { ...found, readAt: entry.readAt } : found;
  entry.sampled = withWake(dated, entry.wokenAt, now);
  // a wake during the read may be about what only the next one finds
  if (!entry.readAgain) entry.wokenAt = undefined;
  entry.quiet = quiet;
}

function withWake(sampled: Sampled, wokenAt: number | undefined, now: number): Sampled {
  return sampled.kind === 'known' && wokenAt !== undefined
    ? { ...sampled, wokenAt, quietUntil: sampled.sample.now - (now - wokenAt) }
    : sampled;
}
