/**
 * When a schedule starts: five fields of cron in a time zone. A start that the clocks skip in spring comes when they have
 * skipped it, and counts for the day on which it was due; of one that comes twice in autumn the first counts. Where the hour is
 * a star, as in every twenty minutes, a start comes whenever the clocks show it, twice or never. Pure: the last result is cached,
 * since finding it takes longer than the rest of a decision.
 */
import { Cron } from 'croner';
import { localTimeOf, type LocalTime } from './local-time.ts';

export interface CronTimes {
  /** The last start at or before this time, both ms since the epoch; `undefined` if there was none. */
  readonly lastStart: (now: number) => number | undefined;
  /** The first start after it. */
  readonly nextStart: (now: number) => number | undefined;
}

const MINUTE_MS = 60_000;

/**
 * Throws `RangeError` in one line for an invalid expression, one that never matches, or an unknown time zone; `field`: its
 * path in the spec, in which the expression is `name`.
 */
export function cronTimesOf(start: string, timeZone: string, field: string, name = 'start'): CronTimes {
  const clocks = zoneOf(timeZone, `${field}.timeZone`);
  const cron = parse(start, `${field}.${name}`);
  const momentsOf = start.trim().split(/\s+/)[1]?.startsWith('*')
    ? (local: number): number[] => clocks.momentsOf(local)
    : (local: number): number[] => [clocks.momentsOf(local)[0] ?? clocks.skippedAt(local)];
  const search = { cron, clocks, momentsOf };
  let known: { readonly from: number; readonly last: number | undefined; readonly next: number | undefined };
  const around = (now: number): typeof known => {
    if (!known || now < (known.last ?? known.from) || now >= (known.next ?? Infinity))
      known = { from: now, last: lastUntil(now, search), next: firstAfter(now, search) };
    return known;
  };
  return { lastStart: (now) => around(now).last, nextStart: (now) => around(now).next };
}

/** The expression, evaluated in UTC, and how its starts map to the time zone. */
interface Search {
  readonly cron: Cron;
  readonly clocks: LocalTime;
  /** In the order of time; never before those of an earlier local time where the clocks are not set. */
  readonly momentsOf: (local: number) => number[];
}

function firstAfter(now: number, { cron, clocks, momentsOf }: Search): number | undefined {
  const change = clocks.changeAround(now);
  let local: number | undefined = now + clocks.offsetAt(now) - change;
  let first = Infinity;
  // past the first one found, those that are shown later can come sooner only where the clocks are set
  for (let end = Infinity; ;) {
    local = cron.nextRun(new Date(local))?.getTime();
    if (local === undefined || local > end) return first === Infinity ? undefined : first;
    for (const at of momentsOf(local)) if (at > now) first = Math.min(first, at);
    if (first < Infinity) end = Math.min(end, local + 2 * change);
  }
}

function lastUntil(now: number, { cron, clocks, momentsOf }: Search): number | undefined {
  const change = clocks.changeAround(now);
  let local: number | undefined = now + clocks.offsetAt(now) + change + 1;
  let last = -Infinity;
  for (let end = -Infinity; ;) {
    // croner searches strictly before, from a full second on
    local = cron.previousRuns(1, new Date(Math.ceil(local / MINUTE_MS) * MINUTE_MS))[0]?.getTime();
    if (local === undefined || local < end) return last === -Infinity ? undefined : last;
    for (const at of momentsOf(local)) if (at <= now) last = Math.max(last, at);
    if (last > -Infinity) end = Math.max(end, local - 2 * change);
  }
}

function parse(start: string, field: string): Cron {
  try {
    if (start.trim().startsWith('@')) throw new Error('a nickname');
    const cron = new Cron(start, { timezone: 'UTC', mode: '5-part' });
    // a leap day is at most eight years away
    if (cron.nextRun(new Date(0)) !== null) return cron;
  } catch (error) {
    const why = (error as Error).message
      .replace(/^CronPattern: /, '')
      .replace(/\.$/, '')
      // croner counts them from 0 here
      .replace(/(?<=^Invalid value for (?:day|month): )-?\d+$/, (value) => String(Number(value) + 1));
    throw new RangeError(
      `${field} is ${JSON.stringify(start)} (${why}): write five fields of cron, minute hour day month weekday, such as "0 8 * * 1-5"`,
      { cause: error },
    );
  }
  throw new RangeError(
    `${field} is ${JSON.stringify(start)}, a date that never occurs: correct the day or the month`,
  );
}

function zoneOf(timeZone: string, field: string): LocalTime {
  try {
    return localTimeOf(timeZone);
  } catch (error) {
    throw new RangeError(
      `${field} is ${JSON.stringify(timeZone)}, which is no time zone: write a name of the IANA database, such as Europe/Berlin`,
      { cause: error },
    );
  }
}
