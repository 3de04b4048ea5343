/**
 * Pools at which a controller has crashed, and how long they are left out. One crash may be a coincidence; after the second
 * within an hour the pool is left out, each time for twice as long, and all others are served. Stored where the next leader
 * finds it: in an annotation of the lease. Pure.
 */
export interface Mark {
  /** The number of crashes, and the time of the last one, ms since the epoch. */
  readonly ends: number;
  readonly at: number;
  /** When the pool is no longer left out, ms since the epoch; 0 if it is not. */
  readonly until: number;
}

/** By pool, `namespace/name`. */
export type Marks = ReadonlyMap<string, Mark>;

const FORGOTTEN_MS = 3_600_000;
const SHORTEST_MS = 5 * 60_000;
const LONGEST_MS = 6 * 3_600_000;
/** Pools that are suspected together return one after the other, which shows the one that causes the crashes. */
const APART_MS = 30_000;
const ENOUGH = 2;
/** The most pools to store: annotations are limited in size. */
const MOST = 64;

/** After a crash of a process that worked on these pools. */
export function withEnd(marks: Marks, pools: readonly string[], now: number): Marks {
  const next = new Map(stillMeant(marks, now));
  for (const [i, pool] of pools.entries()) {
    const ends = (next.get(pool)?.ends ?? 0) + 1;
    const pauseMs = Math.min(SHORTEST_MS * 2 ** (ends - ENOUGH), LONGEST_MS);
    next.set(pool, { ends, at: now, until: ends < ENOUGH ? 0 : now + pauseMs + i * APART_MS });
  }
  return newest(next);
}

/** The union of both; for a pool in both, the newer mark. */
export function merged(one: Marks, other: Marks, now: number): Marks {
  const both = new Map(stillMeant(one, now));
  for (const [pool, mark] of stillMeant(other, now)) {
    const known = both.get(pool);
    if (!known || mark.at > known.at || (mark.at === known.at && mark.ends > known.ends))
      both.set(pool, mark);
  }
  return newest(both);
}

/** For how much longer a pool is left out, ms; 0 when it is not. */
export function leftOutFor(marks: Marks, pool: string, now: number): number {
  const { until = 0 } = marks.get(pool) ?? {};
  // a clock that was set back does not extend it beyond its maximum
  return Math.max(0, Math.min(until - now, LONGEST_MS + MOST * APART_MS));
}

export function packMarks(marks: Marks): string {
  return JSON.stringify(
    Object.fromEntries([...marks].map(([pool, { ends, at, until }]) => [pool, [ends, at, until]])),
  );
}

/** Empty for a text that cannot be parsed. */
export function parseMarks(text: string | undefined): Marks {
  const marks = new Map<string, Mark>();
  try {
    const found = JSON.parse(text ?? '{}') as unknown;
    if (typeof found !== 'object' || found === null) return marks;
    for (const [pool, numbers] of Object.entries(found)) {
      if (!Array.isArray(numbers) || numbers.length !== 3 || !numbers.every(Number.isSafeInteger)) continue;
      const [ends, at, until] = numbers as [number, number, number];
      if (ends > 0) marks.set(pool, { ends, at, until });
    }
  } catch {
    // somebody else wrote there
  }
  return newest(marks);
}

function stillMeant(marks: Marks, now: number): (readonly [string, Mark])[] {
  return [...marks].filter(([, { at, until }]) => Math.max(at, until) + FORGOTTEN_MS > now);
}

function newest(marks: ReadonlyMap<string, Mark>): Marks {
  return new Map([...marks].toSorted(([, a], [, b]) => b.at - a.at).slice(0, MOST));
}
