/**
 * The local time of a time zone, and the moments of a local time. A local time is a number, too: the ms since the epoch at which
 * UTC shows it. Pure.
 */

export interface LocalTime {
  /** By how much these clocks are ahead of UTC at a moment, ms. */
  offsetAt(at: number): number;
  /** The moments at which they show `local`, in their order: one, two where they are set back, none where they skip it. */
  momentsOf(local: number): number[];
  /** When they have skipped `local`, which they never show. */
  skippedAt(local: number): number;
  /** By how much they are set within a day of a moment, ms: mostly 0. */
  changeAround(at: number): number;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** Throws `RangeError` for an unknown time zone. */
export function localTimeOf(timeZone: string): LocalTime {
  const fields = { year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric' } as const;
  const rest = { minute: 'numeric', second: 'numeric', hourCycle: 'h23' } as const;
  const clocks = new Intl.DateTimeFormat('en-US', { timeZone, ...fields, ...rest });

  function offsetAt(at: number): number {
    const part: Record<string, number> = {};
    for (const { type, value } of clocks.formatToParts(at)) part[type] = Number(value);
    const { year = 0, month = 1, day, hour, minute, second } = part;
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(at / 1_000) * 1_000;
  }

  /** When `local` is, if the clocks are as they were a day before, and as a day later. */
  const guesses = (local: number): [number, number] => [
    local - offsetAt(local - DAY_MS),
    local - offsetAt(local + DAY_MS),
  ];

  return {
    offsetAt,
    momentsOf: (local) => {
      const found = guesses(local).filter((at) => at + offsetAt(at) === local);
      return [...new Set(found)].toSorted((a, b) => a - b);
    },
    skippedAt: (local) => {
      let [after, before] = guesses(local);
      const old = offsetAt(before);
      while (after - before > MINUTE_MS) {
        const middle = Math.floor((before + after) / 2 / MINUTE_MS) * MINUTE_MS;
        if (offsetAt(middle) === old) before = middle;
        else after = middle;
      }
      return after;
    },
    changeAround: (at) => {
      const offsets = [at - DAY_MS, at, at + DAY_MS].map(offsetAt);
      return Math.max(...offsets) - Math.min(...offsets);
    },
  };
}
