/**
 * `queue/limits/` takes how many tasks of a queue may begin in a time and run at once, keeps that beside the queue, and returns what
 * it holds back. The turn of workers holds to it (scripts/turn/limits.lua); here, no task is moved but those whose limits were removed.
 *
 * Limits as people write them, and as Redis has them: how they are read, what is refused, and in which words. Pure.
 */

/** At least one of the limits is set. */
export interface QueueLimits extends LimitPair {
  /** The same for all tasks that have the same value in a field. */
  readonly perKey?: KeyLimits;
}

export interface KeyLimits extends LimitPair {
  /** A field of JSON tasks, whose text or number is the key: tasks without it have only the limits of the queue. */
  readonly field: string;
}

interface LimitPair {
  /** Tasks that begin in a time: `100/s`, `5/m`, `20/h`, `1000/d`, `10/30s`. */
  readonly rate?: string;
  /** Tasks that may begin at once after a pause; by default as many as the rate allows in a second, at least 1. */
  readonly burst?: number;
  /** Tasks in flight at once. */
  readonly concurrency?: number;
}

/** Limits that cannot be: the message says why, and what to write. */
export class BadLimits extends RangeError {
  override name = 'BadLimits';
}

export interface Rate {
  readonly tasks: number;
  readonly ms: number;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const RATE = /^([1-9]\d{0,9})\/([1-9]\d{0,4})?(s|m|h|d)$/;
const MOST = 1_000_000_000;
const MAX_FIELD_BYTES = 200;
const SAMPLES = 'such as 100/s, 5/m or 20/h';

/** Throws `BadLimits`. `where`: the name of the value. */
export function parseRate(text: unknown, where: string): Rate {
  const [, tasks, count = '1', unit = ''] = (typeof text === 'string' && RATE.exec(text)) || [];
  const ms = Number(count) * (UNIT_MS[unit] ?? 0);
  if (tasks === undefined)
    throw new BadLimits(
      `${where} is ${shown(text)}: write a whole number of tasks, at least 1, and the time in which they may begin, ${SAMPLES}`,
    );
  if (Number(tasks) / ms > 1_000)
    throw new BadLimits(`${where} is ${shown(text)}: more than 1000000 tasks a second are no limit`);
  return { tasks: Number(tasks), ms };
}

/** Of limits that Redis has, which something else may have written: `undefined` for what cannot be a rate. */
export function tryRate(text: string): Rate | undefined {
  try {
    return parseRate(text, 'rate');
  } catch {
    return undefined;
  }
}

/** One second's tasks, at least 1. */
export function defaultBurst({ tasks, ms }: Rate): number {
  return Math.max(1, Math.floor((tasks * 1_000) / ms));
}

/** Checks limits that anybody may have written. Throws `BadLimits`. `where`: their name, `limits` by default. */
export function checkLimits(limits: unknown, where = 'limits'): QueueLimits {
  const { perKey, ...own } = fieldsOf(limits, where, ['rate', 'burst', 'concurrency', 'perKey']);
  const pair = checkPair(own, where);
  if (perKey === undefined && pair.rate === undefined && pair.concurrency === undefined)
    throw new BadLimits(`${where} limits nothing: set rate, concurrency or perKey`);
  return { ...pair, ...(perKey !== undefined && { perKey: checkKeyLimits(perKey, `${where}.perKey`) }) };
}

function checkKeyLimits(limits: unknown, where: string): KeyLimits {
  const { field, ...own } = fieldsOf(limits, where, ['field', 'rate', 'burst', 'concurrency']);
  if (typeof field !== 'string' || field === '')
    throw new BadLimits(
      `${where}.field is ${field === undefined ? 'missing' : shown(field)}: name the field of JSON tasks whose value is the key, such as customer`,
    );
  if (Buffer.byteLength(field) > MAX_FIELD_BYTES || /["\\\p{Cc}]/u.test(field))
    throw new BadLimits(
      `${where}.field is ${shown(field)}: a name of at most ${MAX_FIELD_BYTES} bytes, without quotes and backslashes`,
    );
  const pair = checkPair(own, where);
  if (pair.rate === undefined && pair.concurrency === undefined)
    throw new BadLimits(`${where} limits nothing: set rate or concurrency in it`);
  return { field, ...pair };
}

function checkPair({ rate, burst, concurrency }: Record<string, unknown>, where: string): LimitPair {
  if (rate !== undefined) parseRate(rate, `${where}.rate`);
  if (burst !== undefined && rate === undefined)
    throw new BadLimits(`${where}.burst is of no use without ${where}.rate: set that, too`);
  return {
    ...(rate !== undefined && { rate: rate as string }),
    ...(burst !== undefined && { burst: checkCount(burst, `${where}.burst`) }),
    ...(concurrency !== undefined && { concurrency: checkCount(concurrency, `${where}.concurrency`) }),
  };
}

function checkCount(value: unknown, where: string): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MOST) return value as number;
  const pause = value === 0 ? '; to stop a queue, pause it' : '';
  throw new BadLimits(
    `${where} is ${shown(value)}: write a whole number of tasks, from 1 to ${MOST}${pause}`,
  );
}

function fieldsOf(value: unknown, where: string, known: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new BadLimits(`${where} is ${shown(value)}: write an object with ${known.join(', ')}`);
  const unknown = Object.keys(value).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new BadLimits(`${where}.${unknown} is no limit: there are ${known.join(', ')}`);
  return value as Record<string, unknown>;
}

function shown(value: unknown): string {
  if (typeof value === 'number' || value === undefined) return String(value);
  return (JSON.stringify(value) ?? typeof value).slice(0, 60);
}

/** As Redis has them: fields and values. */
export function limitFields({ perKey, ...own }: QueueLimits): string[] {
  const fields = pairFields(own, '');
  if (!perKey) return fields;
  const { field, ...pair } = perKey;
  return [...fields, 'field', field, ...pairFields(pair, 'key')];
}

function pairFields({ rate, burst, concurrency }: LimitPair, prefix: '' | 'key'): string[] {
  const name = (plain: string): string =>
    prefix === '' ? plain : `${prefix}${plain.charAt(0).toUpperCase()}${plain.slice(1)}`;
  const fields: string[] = [];
  if (rate !== undefined) {
    const parsed = parseRate(rate, 'rate');
    fields.push(name('rate'), String(parsed.tasks), name('rateMs'), String(parsed.ms));
    fields.push(name('burst'), String(burst ?? defaultBurst(parsed)));
  }
  if (concurrency !== undefined) fields.push(name('concurrency'), String(concurrency));
  return fields;
}

/** The limits of these fields; `undefined` if they are none. What is no number of ours is ignored, as workers do. */
export function limitsOfFields(fields: ReadonlyMap<string, string>): QueueLimits | undefined {
  const own = pairOfFields(fields, '');
  const field = fields.get('field');
  const pair = field === undefined ? {} : pairOfFields(fields, 'key');
  const perKey = field !== undefined && Object.keys(pair).length > 0 ? { perKey: { field, ...pair } } : {};
  const limits = { ...own, ...perKey };
  return Object.keys(limits).length > 0 ? limits : undefined;
}

function pairOfFields(fields: ReadonlyMap<string, string>, prefix: '' | 'key'): LimitPair {
  const of = (plain: string): number | undefined => {
    const name = prefix === '' ? plain : `key${plain.charAt(0).toUpperCase()}${plain.slice(1)}`;
    const value = Number(fields.get(name));
    return Number.isInteger(value) && value > 0 ? value : undefined;
  };
  const [tasks, ms, burst, concurrency] = [of('rate'), of('rateMs'), of('burst'), of('concurrency')];
  const rate = tasks !== undefined && ms !== undefined ? { tasks, ms } : undefined;
  return {
    ...(rate && { rate: describeRate(rate) }),
    ...(rate && burst !== undefined && burst !== defaultBurst(rate) && { burst }),
    ...(concurrency !== undefined && { concurrency }),
  };
}

/** `100/s`, `10/30s`: in the largest unit of which the time is a multiple, so that `parseRate` reads it. */
export function describeRate({ tasks, ms }: Rate): string {
  const [unit = 's', unitMs = 1_000] = Object.entries(UNIT_MS).findLast(([, of]) => ms % of === 0) ?? [];
  const times = ms / unitMs;
  return `${tasks}/${times === 1 ? '' : times}${unit}`;
}

/** For people: `100/s, 20 at once, for each customer 5/s and 1 at once`. */
export function describeLimits({ perKey, ...own }: QueueLimits): string {
  const each = perKey && `for each ${perKey.field} ${words(perKey).join(' and ')}`;
  return [...words(own), ...(each === undefined ? [] : [each])].join(', ');
}

function words({ rate, burst, concurrency }: LimitPair): string[] {
  const bursts = burst === undefined ? '' : ` (burst ${burst})`;
  return [
    ...(rate === undefined ? [] : [rate + bursts]),
    ...(concurrency === undefined ? [] : [`${concurrency} at once`]),
  ];
}

/** Whether two definitions are the same limits. */
export function areSameLimits(one: QueueLimits | undefined, other: QueueLimits | undefined): boolean {
  const text = (limits: QueueLimits | undefined): string => (limits ? limitFields(limits).join('\n') : '');
  return text(one) === text(other);
}
