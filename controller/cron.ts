/**
 * When a schedule starts: five fields of cron in a time zone. A start that the clocks skip in spring comes when they have
 * skipped it, and of one that comes twice in autumn the first counts. Pure: the same question has the same answer, of which
 * the last is kept, since finding it takes longer than all else that a decision does.
 */
import { Cron } from 'croner';

export interface Starts {
  /** The last start at or before this time, both ms since the epoch; `undefined` when there was none. */
  readonly lastStart: (now: number) => number | undefined;
  /** The first start after it. */
  readonly nextStart: (now: number) => number | undefined;
}

const MINUTE_MS = 60_000;

/** Throws `RangeError` in one line for what is no cron, never comes, or is no time zone; `field` is where it stands. */
export function startsOf(start: string, timeZone: string, field: string): Starts {
  checkZone(timeZone, `${field}.timeZone`);
  const cron = parse(start, timeZone, `${field}.start`);
  let known: { readonly from: number; readonly last: number | undefined; readonly next: number | undefined };
  const around = (now: number): typeof known => {
    if (!known || now < (known.last ?? known.from) || now >= (known.next ?? Infinity)) {
      const minute = Math.floor(now / MINUTE_MS) * MINUTE_MS;
      // croner looks strictly before; a start is at a full minute
      const [last] = cron.previousRuns(1, new Date(minute + MINUTE_MS));
      known = { from: now, last: last?.getTime(), next: cron.nextRun(new Date(now))?.getTime() };
    }
    return known;
  };
  return { lastStart: (now) => around(now).last, nextStart: (now) => around(now).next };
}

function parse(start: string, timezone: string, field: string): Cron {
  try {
    const cron = new Cron(start, { timezone, mode: '5-part' });
    // a leap day is at most eight years away
    if (cron.nextRun(new Date(0)) !== null) return cron;
  } catch (error) {
    const why = (error as Error).message.replace(/^CronPattern: /, '').replace(/\.$/, '');
    throw new RangeError(
      `${field} is ${JSON.stringify(start)} (${why}): write five fields of cron, minute hour day month weekday, such as "0 8 * * 1-5"`,
      { cause: error },
    );
  }
  throw new RangeError(`${field} is ${JSON.stringify(start)}, a day that never comes: correct day and month`);
}

function checkZone(timeZone: string, field: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone });
  } catch (error) {
    throw new RangeError(
      `${field} is ${JSON.stringify(timeZone)}, which is no time zone: write a name of the IANA database, such as Europe/Berlin`,
      { cause: error },
    );
  }
}
