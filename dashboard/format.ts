/** Numbers, durations and times for people. Pure, except for the browser's language and time zone. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });

/** `1,234`; from a hundred thousand on, `123K`. */
export function formatCount(value: number): string {
  return value < 100_000 ? whole.format(value) : short.format(value);
}

/** Singular or plural. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${formatCount(value)} ${value === 1 ? one : many}`;
}

/** `0.4/s`, `12/s`, or per minute if that is more readable. */
export function rate(perSecond: number): string {
  if (perSecond === 0) return '0/s';
  if (perSecond >= 9.95) return `${formatCount(Math.round(perSecond))}/s`;
  if (perSecond >= 0.095) return `${perSecond.toFixed(1)}/s`;
  return `${(perSecond * 60).toFixed(perSecond * 60 < 1 ? 2 : 1)}/min`;
}

/** `340 ms`, `1.2 s`, `42 s`, `3 min`, `2.5 h`. */
export function formatMs(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${trim(ms / 1_000)} s`;
  if (ms < 99_500) return `${Math.round(ms / 1_000)} s`;
  if (ms < 5_970_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${trim(ms / 3_600_000)} h`;
  return `${trim(ms / 86_400_000)} d`;
}

/** `now`, `12 s ago`, `3 min ago`. */
export function ago(at: number, now: number): string {
  const past = now - at;
  return past < 2_000 ? 'just now' : `${formatMs(Math.floor(past / 1_000) * 1_000)} ago`;
}

/** `now`, `in 12 s`, `in 3 min`. */
export function ahead(at: number, now: number): string {
  return at - now < 1_000 ? 'now' : `in ${formatMs(Math.ceil((at - now) / 1_000) * 1_000)}`;
}

/** `14:03:07`, with the date unless it is today. */
export function clock(at: number, now: number): string {
  return dated(at, now, new Date(at).toLocaleTimeString('en-GB'));
}

/** The same without seconds: `14:03`. */
export function minute(at: number, now: number): string {
  return dated(at, now, new Date(at).toLocaleTimeString('en-GB', { timeStyle: 'short' }));
}

function dated(at: number, now: number, time: string): string {
  const date = new Date(at);
  if (date.toDateString() === new Date(now).toDateString()) return time;
  return `${date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })}, ${time}`;
}

function trim(value: number): string {
  return value < 9.95 ? value.toFixed(1).replace(/\.0$/, '') : String(Math.round(value));
}
