/** What the sampler keeps of those whose queues it samples, and when the next look at them is due. */
import type { QueueKeys } from '../../queue/keys.ts';
import type { Looked } from './read.ts';
import { medianOf, withRoundTrip, type RoundTrips } from './round-trip.ts';
import { notYet, type Sampled } from './sampled.ts';

/** Times are by performance.now(). */
export interface Entry {
  readonly queues: readonly QueueKeys[];
  active: boolean;
  horizonMs: number;
  sampled: Sampled;
  quiet: Looked['quiet'];
  roundTrips: RoundTrips;
  /** A look is on its way. */
  looking: boolean;
  lookAgain: boolean;
  /** What is past its time is being removed. */
  sweeping: boolean;
  lastLook: number;
  /** Since then, it was heard that something changed. */
  woken: boolean;
  /** Looks in a row that the wake asked for and that found all still: see `isVain`. */
  vain: number;
  vainAt: number;
  /** When the next look is due at the latest, though nothing happens. */
  safetyAt: number;
  /** When the wake rang since then, while all queues were quiet. */
  wokenAt: number | undefined;
}

export function newEntry(queues: readonly QueueKeys[]): Entry {
  const still = {
    looking: false,
    lookAgain: false,
    sweeping: false,
    woken: false,
    vain: 0,
    vainAt: -Infinity,
    wokenAt: undefined,
  };
  const never = { sampled: notYet, quiet: [], roundTrips: [], lastLook: -Infinity, safetyAt: -Infinity };
  return { queues, active: true, horizonMs: 0, ...never, ...still };
}

/** A first task would be news in each of its queues. */
export function isQuiet({ quiet, queues }: Entry): boolean {
  return quiet.length === queues.length;
}

/** From so many wakes in a row on, it is no chance that there was nothing. */
const VAIN = 3;
/** In a row, if they are no further apart. */
const VAIN_MS = 10_000;

/**
 * The server says of this queue that it changed, again and again, and it has not: its table of tracked keys is full, and each key that
 * is read pushes another one out. To arm the queue again at once would keep both busy.
 */
export function isVain({ vain }: Entry): boolean {
  return vain >= VAIN;
}

/** After a look that had been asked for by the wake, or not; `before`: what was known before it. */
export function countVain(entry: Entry, woken: boolean, before: Sampled): void {
  const { lastLook } = entry;
  if (!isQuiet(entry) || !nothingDone(before, entry.sampled)) entry.vain = 0;
  else if (woken) {
    entry.vain = lastLook - entry.vainAt < VAIN_MS ? Math.min(entry.vain + 1, VAIN) : 1;
    entry.vainAt = lastLook;
  } else if (isVain(entry)) entry.vain--;
}

function nothingDone(before: Sampled, after: Sampled): boolean {
  if (before.kind === 'unknown' || after.kind === 'unknown') return false;
  const [one, other] = [before.sample, after.sample];
  return one.counters.taken === other.counters.taken && one.delayed === other.delayed;
}

/** It is sampled at each poll. */
export function isOften(entry: Entry, now: number): boolean {
  const { active, sampled } = entry;
  // nothing tells that a queue was resumed
  const paused = sampled.kind === 'known' && sampled.sample.pausedQueues > 0;
  // where no worker is heard of, leases end by the sampler's looks
  const silent = sampled.kind === 'known' && sampled.sample.silent;
  return active || sampled.kind === 'unknown' || paused || silent || momentOf(entry) <= now;
}

/** When a delayed task comes within the horizon, or a lease ends that should have been renewed. */
export function momentOf({ sampled, lastLook, horizonMs }: Entry): number {
  if (sampled.kind !== 'known') return Infinity;
  const { now, nextDue = Infinity, nextExpiry = Infinity } = sampled.sample;
  return lastLook + Math.min(nextDue - horizonMs, nextExpiry) - now;
}

/** Takes in what a look found, on the server of this name. */
export function take(
  entry: Entry,
  { sampled, quiet, roundTripMs }: Looked,
  server: string,
  now: number,
): void {
  entry.roundTrips = withRoundTrip(entry.roundTrips, roundTripMs);
  const median = medianOf(entry.roundTrips);
  const found = median === undefined ? sampled : { ...sampled, redis: { server, roundTripMs: median } };
  entry.sampled = withWake(found, entry.wokenAt, now);
  // a ring while it was looking may be about what the next look sees
  if (!entry.lookAgain) entry.wokenAt = undefined;
  entry.quiet = quiet;
}

function withWake(sampled: Sampled, wokenAt: number | undefined, now: number): Sampled {
  return sampled.kind === 'known' && wokenAt !== undefined
    ? { ...sampled, wokenAt, quietUntil: sampled.sample.now - (now - wokenAt) }
    : sampled;
}
