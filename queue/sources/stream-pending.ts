/**
 * Pending entries that nobody can run any more: they were deleted or trimmed (XDEL, XTRIM, MAXLEN) after they were delivered, and
 * before they were acknowledged. Redis keeps them pending until a reader claims them, if any does, or acknowledges them.
 *
 * A reader may be running one, so only those count as gone that were delivered long ago, and their consumer keeps them. The
 * oldest entries are looked at: they are the ones that a trim takes.
 */
import type { Ask } from './ask.ts';
import { compareIds } from './stream-ids.ts';
import { pendingFor, someIds } from './stream-info.ts';

/** Readers claim the entries of others after minutes, as a rule. */
const LONG_MS = 300_000;
/** Pending entries that are looked at, and entries that their ids are compared with. */
const MOST_PENDING = 100;
const MOST_ENTRIES = 1_000;

/** The number of them, of the 100 oldest that are pending. One round trip, and two where one is pending for long. */
export async function countGone(ask: Ask, key: string, group: string): Promise<number> {
  const { answers } = await ask({ oldest: pendingFor(key, group, 0, MOST_PENDING) });
  const late = answers.oldest.filter(({ idleMs }) => idleMs >= LONG_MS).map(({ id }) => id);
  const [first] = late;
  if (first === undefined) return 0;
  const { entries } = (await ask({ entries: someIds(key, { from: first, most: MOST_ENTRIES }) })).answers;
  const there = new Set(entries.ids);
  const last = entries.more ? entries.ids.at(-1) : undefined;
  return late.filter((id) => !there.has(id) && (last === undefined || compareIds(id, last) < 0)).length;
}

/**
 * What is left of the pending ones. `delivered`: entries in the stream that were delivered, each of which is pending once at most;
 * it bounds the number where more may be gone than were looked at.
 */
export function pendingLeft(pending: number, gone: number, delivered: number): number {
  return gone < MOST_PENDING ? pending - gone : Math.min(pending - gone, delivered);
}
