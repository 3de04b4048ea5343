/**
 * When the results that are waited for are read next, and how many ids one read looks up.
 *
 * Lookups in vain keep the server from its work, so each is followed by a pause in proportion, and a hash that others write to
 * incessantly is read at intervals that grow up to MAX_GAP_MS while nothing is found; after a pause of that length a notice is
 * followed immediately. Pure; times in ms.
 */
const MIN_GAP_MS = 1;
export const MAX_GAP_MS = 50;
/** Ids that may be looked up in vain per ms, so that waiting takes no more than some 5 % of the server. */
const VAIN_PER_MS = 20;
/** Lookups in vain that one result found makes up for. */
const FOUND_PAYS = 8;
/** With more waits than this, a read that finds fewer results than `FEW` was too early: it looks up all for the sake of one. */
const MANY = 32;
const FEW = 16;
const PACED_MS = 10;
/** Ids in one command at most; fewer when results are long. */
const MOST_IDS = 1_000;
const FIRST_IDS = 64;
const MOST_BYTES = 8 << 20;
/** Read after this long even without a notice, which is only a hint. */
export const SAFETY_MS = 2_000;
/** Such a read looks up all ids if that takes no more than this share of the time until the next. */
const SAFETY_SHARE = 0.1;

export interface ReadPace {
  /** The interval between reads. */
  readonly gapMs: number;
  /** The pause that the lookups in vain of the last read cost. */
  readonly debtMs: number;
  /** Ids in the next command at most. */
  readonly mostIds: number;
}

export const initialPace: ReadPace = { gapMs: 0, debtMs: 0, mostIds: FIRST_IDS };

/** The pause between the last read and the next one. */
export const pauseAfter = ({ gapMs, debtMs }: ReadPace): number =>
  Math.min(Math.max(gapMs, debtMs), MAX_GAP_MS);

/** How many ids the next read may look up in vain. */
export const vainIds = ({ gapMs }: ReadPace): number => gapMs * VAIN_PER_MS;

/** The interval after which all of `waits` ids are looked up even without a notice. */
export const safetyMs = (waits: number): number => Math.max(SAFETY_MS, waits / VAIN_PER_MS / SAFETY_SHARE);

/** A command found `found` results of `bytes` bytes: a batch whose results are all present must fit into memory. */
export function sized(pace: ReadPace, found: number, bytes: number): ReadPace {
  const fits = found > 0 ? Math.floor((MOST_BYTES * found) / Math.max(bytes, 1)) : Infinity;
  return { ...pace, mostIds: Math.max(1, Math.min(MOST_IDS, 2 * pace.mostIds, fits)) };
}

export interface ReadOutcome {
  /** Ids that were looked up, and those of them that were found. */
  readonly asked: number;
  readonly found: number;
  /** Waits that are left. */
  readonly waits: number;
  /** The read followed a notice. */
  readonly noticed: boolean;
}

/** Results arrive after their waits begin: only a notice about something else slows reads down. */
export function spaced(pace: ReadPace, { asked, found, waits, noticed }: ReadOutcome): ReadPace {
  const debtMs = Math.max(0, asked - FOUND_PAYS * found) / VAIN_PER_MS;
  return { ...pace, debtMs, gapMs: gapAfter(pace.gapMs, found, waits, noticed) };
}

function gapAfter(gapMs: number, found: number, waits: number, noticed: boolean): number {
  if (found === 0) return noticed ? Math.min(Math.max(MIN_GAP_MS, gapMs * 2), MAX_GAP_MS) : gapMs;
  if (waits <= MANY) return 0;
  if (found < FEW) return Math.min(Math.max(MIN_GAP_MS, gapMs * 2), PACED_MS);
  return gapMs > MIN_GAP_MS ? gapMs / 2 : 0;
}
