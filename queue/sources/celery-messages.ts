/** The messages in Celery's lists and in its hash of fetched messages, read by one script (celery.lua). */
import type { Redis } from 'ioredis';
import { WrongKeyType } from '../pool/sample.ts';
import { asCount, asList, asText, UnexpectedReply } from '../scripts/decode-reply.ts';
import { script } from '../scripts/scripts.ts';
import { bindingOf, type CeleryBinding, type Routed } from './celery-routes.ts';
import { SourceTrouble } from './source.ts';

/** Messages that are read for their queue and ETA: of `unacked`, of each list, and the number of lists per queue. */
const MOST_UNACKED = 1_000;
const MOST_LISTED = 100;
const MOST_LISTS = 4;
/** Of a name of 256 characters, each of which may be escaped. */
const LONGEST_NAME = 1_536;

export interface CeleryKeys {
  readonly separator: string;
  readonly unacked: string;
  /** With the lists of each in the order in which workers take from them; all have the same number of lists. */
  readonly queues: readonly {
    readonly name: string;
    readonly binding: string;
    readonly lists: readonly string[];
  }[];
  /** Other exchanges that these queues are bound to, and the keys of their bindings. */
  readonly exchanges: readonly { readonly name: string; readonly key: string }[];
}

/** When a task may run, ms of Redis time; `undefined`: immediately. */
type Eta = number | undefined;

export interface Messages {
  /** Redis time, ms. */
  readonly now: number;
  /** Messages of `unacked` that were not read: too many, or too long. */
  readonly unread: number;
  readonly unacked: readonly (Routed & { readonly eta: Eta })[];
  /** The number of queues that a client or a worker has declared; only counted if there is no message at all, otherwise 0. */
  readonly known: number;
  /** Of these queues to other exchanges, as far as Redis has them. */
  readonly bindings: readonly CeleryBinding[];
  /** The lists of each queue, with the ETAs of the messages that are taken next. */
  readonly lists: readonly (readonly {
    readonly key: string;
    readonly length: number;
    readonly etas: readonly Eta[];
  }[])[];
}

/**
 * One round trip; per queue, one command for each list and one more for up to four that are not empty. Throws `WrongKeyType`, and
 * `SourceTrouble` for messages that are not Celery's.
 */
export async function readMessages(redis: Redis, of: CeleryKeys): Promise<Messages> {
  const { unacked, queues, exchanges, separator } = of;
  const each = queues[0]?.lists.length ?? 0;
  const lists = queues.flatMap((queue) => queue.lists);
  const before = [unacked, ...queues.map(({ binding }) => binding), ...lists];
  const keys = [...before, ...exchanges.map(({ key }) => key)];
  const bounds = [MOST_UNACKED, MOST_LISTED, MOST_LISTS];
  const reply = await script(redis, 'celery')(
    keys.length,
    ...keys,
    queues.length,
    each,
    ...bounds,
    separator,
    ...queues.map(({ name }) => name),
  );
  const what = 'messages of Celery';
  const [now, unread, fetched, known, bound, ...rows] = asList(reply, what);
  if (fetched === undefined) throw wrongType(asCount(unread, what), keys, before.length);
  if (rows.length !== lists.length) throw new UnexpectedReply(`${what} in ${lists.length} lists`, reply);
  const texts = asList(fetched, what).map((one) => asText(one, what, LONGEST_NAME));
  const read = rows.map((row, i) => {
    const [length, ...etas] = asList(row, what);
    const key = lists[i] ?? '';
    return { key, length: asCount(length, what), etas: etas.map((one) => etaIn(asText(one, what), key)) };
  });
  return {
    now: asCount(now, 'the time'),
    unread: asCount(unread, 'messages that were not read'),
    unacked: texts.flatMap((exchange, i) =>
      i % 3 === 0
        ? [
            {
              exchange: unescape(exchange),
              route: unescape(texts[i + 1] ?? ''),
              eta: etaIn(texts[i + 2] ?? '?', unacked),
            },
          ]
        : [],
    ),
    known: asCount(known, what),
    bindings: asList(bound, what).flatMap((at, i, all): CeleryBinding[] => {
      if (i % 2 !== 0) return [];
      const { name = '' } = exchanges[asCount(at, what) - 1 - before.length] ?? {};
      return [bindingOf(name, asText(all[i + 1], what), separator)];
    }),
    lists: queues.map((_, i) => read.slice(i * each, (i + 1) * each)),
  };
}

function wrongType(at: number, keys: readonly string[], before: number): WrongKeyType {
  const key = keys[at - 1] ?? '';
  if (at > before) return new WrongKeyType(key, 'a set', 'SSCAN reads it');
  return at === 1
    ? new WrongKeyType(key, 'a hash', 'HSCAN reads it')
    : new WrongKeyType(key, 'a list', 'LLEN reads it');
}

/** What stands between the quotes of a text in JSON, which Python writes in ASCII: `b\u00fccher`. */
function unescape(text: string): string {
  if (!text.includes('\\')) return text;
  try {
    return String(JSON.parse(`"${text}"`));
  } catch {
    return text; // it was cut
  }
}

function etaIn(text: string, key: string): Eta {
  if (text === '-') return undefined;
  // without an offset, it is in UTC
  const at = Date.parse(/[Z+]|-\d\d:\d\d$/.test(text) ? text : `${text}Z`);
  if (!Number.isNaN(at)) return at;
  throw new SourceTrouble(
    'UnknownLayout',
    `the key "${key}" holds something that is not a message of Celery's protocol 2`,
    'check queues of source.celery: this queue is of another library or of Celery 3; source.list or source.custom can read it',
  );
}
