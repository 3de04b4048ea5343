/**
 * Questions to Redis: commands that only read, with what their replies must be. A source asks several at once, of one instant,
 * and gets checked values (ask.ts). Pure.
 */
import { asCount, asCounter, asList, asMoment, asText } from '../scripts/decode-reply.ts';

/** Commands whose replies are bounded, or are cut in Redis. None of them writes, and ask.ts sends no other. */
export const COMMANDS = [
  'EXISTS',
  'GET',
  'GETRANGE',
  'HGET',
  'HKEYS',
  'HLEN',
  'HMGET',
  'HSCAN',
  'LINDEX',
  'LLEN',
  'LRANGE',
  'PTTL',
  'SCARD',
  'SISMEMBER',
  'SORT',
  'SSCAN',
  'XINFO CONSUMERS',
  'XINFO GROUPS',
  'XINFO STREAM',
  'XLEN',
  'XPENDING',
  'XRANGE',
  'ZCARD',
  'ZCOUNT',
  'ZRANGE',
  'ZRANGE EXISTS',
] as const;
export type Command = (typeof COMMANDS)[number];

/** An argument that Redis computes when it answers: (its time in ms + `plusMs`) × `factor` + `offset`. */
export interface Moment {
  readonly plusMs: number;
  /** 1 for ms, 0.001 for seconds. */
  readonly factor: number;
  readonly offset: number;
  /** Not to the value itself, but from or up to it: `(`. */
  readonly exclusive?: boolean;
}

export type Argument = string | number | Moment;

export interface Question<T> {
  readonly command: Command;
  readonly key: string;
  readonly args: readonly Argument[];
  /** Throws `UnexpectedReply` for anything else than the command returns. */
  readonly decode: (reply: unknown) => T;
  /**
   * Its reply is a number or a short text, and while nothing waits, a change of the key may be news: the pool is woken, and the
   * source is read again. Of a key that changes without news, such as a heartbeat, it is `false`.
   */
  readonly wakes: boolean;
}

export function question<T>(
  command: Command,
  key: string,
  args: readonly Argument[],
  decode: (reply: unknown) => T,
): Question<T> {
  return { command, key, args, decode, wakes: false };
}

/** The same question, whose key wakes the pool when it changes. */
export function waking<T>(asked: Question<T>): Question<T> {
  return { ...asked, wakes: true };
}

/** A command whose reply is a number of at least 0: `LLEN`, `ZCARD`, `HLEN`, `EXISTS`. */
export function count(command: Command, key: string, ...args: readonly Argument[]): Question<number> {
  return question(command, key, args, (reply) => asCount(reply, `the reply to ${command} ${key}`));
}

/** How long a key is there, ms; `undefined` where it does not expire, or is not there. */
export function timeToLive(key: string): Question<number | undefined> {
  return question('PTTL', key, [], (reply) =>
    reply === -1 || reply === -2 ? undefined : asCount(reply, `the reply to PTTL ${key}`),
  );
}

/** The text at a field of a hash, or of a key with `GET`, or a part of it; `undefined` where there is none. */
export function text(
  command: 'GET' | 'GETRANGE' | 'HGET' | 'LINDEX',
  key: string,
  ...args: readonly Argument[]
): Question<string | undefined> {
  return question(command, key, args, (reply) => optionalText(reply, `the reply to ${command} ${key}`));
}

/** How many of the first `most` members of a sorted set by score, behind `prefix`, are names of existing keys. */
export function countNamed(
  key: string,
  prefix: string,
  { from, to, most }: { readonly from: Argument; readonly to: Argument; readonly most: number },
): Question<number> {
  return count('ZRANGE EXISTS', key, prefix, from, to, most);
}

/** A number that is kept as a text; 0 where there is none. */
export function counter(key: string): Question<number> {
  const what = `the reply to GET ${key}`;
  return question('GET', key, [], (reply) =>
    asCounter(Buffer.isBuffer(reply) && reply.length === 0 ? null : reply, what),
  );
}

/** Fields of a hash, in order; `undefined` for one that is not there. */
export function fields(key: string, ...names: readonly string[]): Question<(string | undefined)[]> {
  const what = `the fields of ${key}`;
  return question('HMGET', key, names, (reply) =>
    asList(reply, what, names.length).map((one) => optionalText(one, what)),
  );
}

/** Texts of a list or a sorted set, of which the arguments bound the number; names of a hash's fields, of which its writer does. */
export function texts(
  command: 'LRANGE' | 'ZRANGE' | 'HKEYS',
  key: string,
  ...args: readonly Argument[]
): Question<string[]> {
  const what = `the reply to ${command} ${key}`;
  return question(command, key, args, (reply) => asList(reply, what).map((one) => asText(one, what)));
}

/** About `most` members of a set that are the names of existing keys; all of them where these are fewer. */
export function existingKeys(key: string, most: number): Question<string[]> {
  const what = `members of ${key}`;
  return question('SSCAN', key, [most], (reply) => asList(reply, what).map((one) => asText(one, what)));
}

/**
 * Of the hashes that the members of a set are names of, these fields, by name; `undefined` for a field that is not there. One command.
 * `undefined` if the set has more than `most` members.
 */
export function namedHashes(
  key: string,
  most: number,
  ...names: readonly string[]
): Question<ReadonlyMap<string, (string | undefined)[]> | undefined> {
  const what = `hashes named in ${key}`;
  return question('SORT', key, [most, ...names], (reply) => {
    const [size, ...rest] = asList(reply, what).map((one, i) => (i === 0 ? asCount(one, what) : one));
    if (Number(size) > most) return undefined;
    const width = 1 + names.length;
    const rows = Array.from({ length: rest.length / width }, (_, i) =>
      rest.slice(i * width, (i + 1) * width),
    );
    return new Map(
      rows.map(([name, ...values]) => [asText(name, what), values.map((one) => optionalText(one, what))]),
    );
  });
}

/** The lowest score of a sorted set, or the lowest in the range from `above`; `undefined` where there is none. */
export function lowestScore(key: string, above?: Argument): Question<number | undefined> {
  const what = `the lowest score of ${key}`;
  const range = above === undefined ? [0, 0] : [above, '+inf', 'BYSCORE', 'LIMIT', 0, 1];
  return question('ZRANGE', key, [...range, 'WITHSCORES'], (reply) => {
    const score = asList(reply, what)[1];
    return score === undefined ? undefined : asMoment(score, what);
  });
}

function optionalText(reply: unknown, what: string): string | undefined {
  return reply === null ? undefined : asText(reply, what);
}
