/** What XINFO returns of a stream, of one of its groups and of a group's consumers, as questions with checked answers. Pure. */
import { asCount, asList, asText } from '../scripts/decode-reply.ts';
import { question, waking, type Question } from './question.ts';

export interface StreamInfo {
  readonly length: number;
  readonly firstId: string | undefined;
  readonly lastGenerated: string;
  /** All that were ever added; `undefined` before Redis 7. */
  readonly added: number | undefined;
}

export interface GroupInfo {
  readonly consumers: number;
  readonly pending: number;
  readonly lastDelivered: string;
  /** As Redis computes it; `undefined` before Redis 7, or where it is nil. It may be wrong: see stream.ts. */
  readonly lag: number | undefined;
}

export interface ConsumerInfo {
  readonly name: string;
  readonly pending: number;
  /** Since it last asked for anything, ms. */
  readonly idleMs: number;
}

/** `undefined` where there is no such key. */
export function streamInfo(key: string): Question<StreamInfo | undefined> {
  const what = `XINFO STREAM ${key}`;
  return question('XINFO STREAM', key, [], (reply) => {
    if (reply === null) return undefined;
    const row = rowOf(reply, what);
    const [first, added] = [row.get('first-entry') ?? null, row.get('entries-added')];
    return {
      length: asCount(row.get('length'), what),
      firstId: first === null ? undefined : asText(first, what),
      lastGenerated: asText(row.get('last-generated-id'), what),
      added: added === undefined ? undefined : asCount(added, what),
    };
  });
}

/** `undefined` where there is no such key or group. */
export function groupInfo(key: string, group: string): Question<GroupInfo | undefined> {
  const what = `XINFO GROUPS ${key}`;
  return waking(
    question('XINFO GROUPS', key, [group], (reply) => {
      if (reply === null || asList(reply, what).length === 0) return undefined;
      const row = rowOf(reply, what);
      const lag = row.get('lag');
      return {
        consumers: asCount(row.get('consumers'), what),
        pending: asCount(row.get('pending'), what),
        lastDelivered: asText(row.get('last-delivered-id'), what),
        // some versions return a negative one after entries were deleted
        lag: typeof lag === 'number' && lag >= 0 ? lag : undefined,
      };
    }),
  );
}

/** Their number is not bounded: `GroupInfo.consumers` is to be looked at first. */
export function consumersOf(key: string, group: string): Question<readonly ConsumerInfo[]> {
  const what = `XINFO CONSUMERS ${key}`;
  return question('XINFO CONSUMERS', key, [group], (reply) =>
    asList(reply, what).map((one) => {
      const row = rowOf(one, what);
      return {
        name: asText(row.get('name'), what),
        pending: asCount(row.get('pending'), what),
        idleMs: asCount(row.get('idle'), what),
      };
    }),
  );
}

export interface PendingEntry {
  readonly id: string;
  readonly consumer: string;
  /** Since it was last delivered. */
  readonly idleMs: number;
  /** How many times it was delivered, claims included. */
  readonly deliveries: number;
}

/** Entries that were delivered at least `idleMs` ago and are not acknowledged, oldest id first, `most` at most. */
export function pendingFor(
  key: string,
  group: string,
  idleMs: number,
  most: number,
): Question<readonly PendingEntry[]> {
  const what = `XPENDING ${key}`;
  return question('XPENDING', key, [group, 'IDLE', idleMs, '-', '+', most], (reply) =>
    asList(reply, what).map((one) => {
      const [id, consumer, idle, deliveries] = asList(one, what, 4);
      return {
        id: asText(id, what),
        consumer: asText(consumer, what),
        idleMs: asCount(idle, what),
        deliveries: asCount(deliveries, what),
      };
    }),
  );
}

/** Ids of entries of a range, oldest first, until they are `most`, or their contents many bytes. */
export function someIds(
  key: string,
  { from, most }: { readonly from: string; readonly most: number },
): Question<{ readonly ids: readonly string[]; readonly more: boolean }> {
  const what = `XRANGE ${key}`;
  return question('XRANGE', key, [from, '+', most], (reply) => {
    const [ids, more] = asList(reply, what, 2);
    return { ids: asList(ids, what).map((id) => asText(id, what)), more: more === 1 };
  });
}

/** Fields and values by turns. */
function rowOf(reply: unknown, what: string): ReadonlyMap<string, unknown> {
  const flat = asList(reply, what);
  const row = new Map<string, unknown>();
  for (let i = 0; i + 1 < flat.length; i += 2) row.set(asText(flat[i], what), flat[i + 1]);
  return row;
}
