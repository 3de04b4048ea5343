/**
 * A consumer group of streams, whichever library reads it (seen: Redis 7.0). Its blind spots for a reader of `lag` and `XLEN`:
 *
 * - `lag` is nil from the deletion of an entry that was not delivered until the group has read the last one, and after a group
 *   was made at, or set to, an id in the middle. It is wrong where undelivered entries were trimmed (XTRIM, MAXLEN). So what
 *   waits follows from the ids: everything when the group is before the first entry, nothing when it is at the last id; in
 *   between `lag`, and where there is none, entries are counted: up to 1,000, beyond that estimated by their density.
 * - What has been delivered is not `entries-read`, which is nil as often, but all that was added less what waits: the same number
 *   wherever Redis knows it. An entry that was deleted or trimmed before it was delivered counts as delivered.
 * - Pending entries of a consumer that is gone stay until another one claims them, so they count as work; one that was deleted or
 *   trimmed stays as well, and counts for some minutes only (stream-pending.ts).
 * - Up to Redis 7.0 a consumer is on record with its first entry only, and none is ever removed by itself.
 * - A reader with NOACK, or one that acknowledges before it works, leaves nothing of what it runs: `longestTask` says that.
 */
import { parseDuration } from '../../runtime/duration.ts';
import type { Ask } from './ask.ts';
import {
  SourceTrouble,
  type Source,
  type SourceWorkers,
  type SourceCounts,
  type SourceWorker,
} from './source.ts';
import { compareIds, timeOf } from './stream-ids.ts';
import {
  consumersOf,
  groupInfo,
  someIds,
  streamInfo,
  type ConsumerInfo,
  type GroupInfo,
  type StreamInfo,
} from './stream-info.ts';
import { countGone, pendingLeft } from './stream-pending.ts';

export interface StreamSettings {
  readonly keys: readonly string[];
  /** As in XREADGROUP GROUP; the same for all keys. */
  readonly group: string;
  /** A duration; for readers that acknowledge before they work. */
  readonly longestTask?: string;
}

const MOST_COUNTED = 1_000;
/** Of a group, as many consumers are read; a name is never removed by itself, so there may be any number. */
const MOST_CONSUMERS = 1_000;
/** Names may go on behind a host's with as many parts, as a process id or a UUID. */
const MOST_PARTS = 6;

/** What the settings are called, for what a person must mend. */
export interface StreamFields {
  readonly keys: string;
  readonly group: string;
}

const FIELDS: StreamFields = { keys: 'source.stream.keys', group: 'source.stream.group' };

export function streamSource(
  { keys, group, longestTask }: StreamSettings,
  fields: StreamFields = FIELDS,
): Source {
  return {
    kind: 'stream',
    read: (ask) => Promise.all(keys.map((key) => readStream(ask, key, group, fields))),
    holding:
      longestTask === undefined
        ? // an entry is pending in the step in which it is delivered
          { by: 'worker', lagMs: 0, readWorkers: (ask) => readWorkers(ask, keys, group) }
        : {
            by: 'nobody',
            why: 'with longestTask, readers acknowledge before they work, so running tasks are in no key of Redis',
            longestMs: parseDuration(longestTask),
          },
  };
}

export async function readStream(
  ask: Ask,
  key: string,
  name: string,
  fields: StreamFields = FIELDS,
): Promise<SourceCounts> {
  const { now, answers } = await ask({ stream: streamInfo(key), group: groupInfo(key, name) });
  const { stream, group } = answers;
  if (!stream)
    throw new SourceTrouble(
      'NotFound',
      `there is no stream "${key}" here`,
      `check ${fields.keys} and the database in the address of Redis; a stream is there once its group was created with MKSTREAM, or an entry was added`,
    );
  if (!group)
    throw new SourceTrouble(
      'NotFound',
      `the stream "${key}" has no consumer group "${name}"`,
      `check ${fields.group}, or create it: XGROUP CREATE ${key} ${name} 0 delivers existing entries, $ only new ones`,
    );
  const [waiting, gone] = await Promise.all([
    waitingIn(stream, group) ?? countWaiting(ask, key, stream, group),
    group.pending > 0 ? countGone(ask, key, name) : 0,
  ]);
  const inHand = pendingLeft(group.pending, gone, Math.max(0, stream.length - waiting));
  return {
    now,
    waiting,
    inHand,
    delayed: 0,
    due: 0,
    dueSoon: 0,
    ...(stream.added !== undefined && { finished: Math.max(0, stream.added - waiting - inHand) }),
  };
}

/** Entries that the group has not been given, where the two say it; `undefined`: entries must be counted. */
function waitingIn(
  { length, firstId, lastGenerated }: Pick<StreamInfo, 'length' | 'firstId' | 'lastGenerated'>,
  { lastDelivered, lag }: Pick<GroupInfo, 'lastDelivered' | 'lag'>,
): number | undefined {
  if (length === 0 || firstId === undefined || compareIds(lastDelivered, lastGenerated) >= 0) return 0;
  if (compareIds(lastDelivered, firstId) < 0) return length;
  // at least the first one was delivered
  return lag !== undefined && lag < length ? lag : undefined;
}

async function countWaiting(
  ask: Ask,
  key: string,
  { length, lastGenerated }: StreamInfo,
  { lastDelivered }: GroupInfo,
): Promise<number> {
  const { answers } = await ask({ next: someIds(key, { from: `(${lastDelivered}`, most: MOST_COUNTED }) });
  const { ids, more } = answers.next;
  if (!more) return ids.length;
  return estimateWaiting(ids, lastGenerated, length);
}

/** The rest is taken to be as dense as these, which are in order. Never less than these, nor more than the stream holds. */
export function estimateWaiting(ids: readonly string[], lastGenerated: string, length: number): number {
  const [first, last, end] = [ids[0] ?? '', ids.at(-1) ?? '', lastGenerated].map((id) => Number(timeOf(id)));
  if (first === undefined || last === undefined || end === undefined || last <= first) return length - 1;
  const whole = Math.round((ids.length * (end - first)) / (last - first));
  return Math.max(ids.length, Math.min(whole, length - 1));
}

async function readWorkers(ask: Ask, keys: readonly string[], group: string): Promise<SourceWorkers> {
  const found = await Promise.all(keys.map((key) => readConsumers(ask, key, group)));
  const workers = found.flatMap(({ consumers }) => consumers).map(workerOf);
  const held = found.reduce((sum, { pending }) => sum + pending, 0);
  const named = workers.reduce((sum, { tasks }) => sum + tasks, 0);
  return { workers, unnamed: Math.max(0, held - named), complete: true };
}

export async function readConsumers(
  ask: Ask,
  key: string,
  name: string,
): Promise<{ readonly pending: number; readonly consumers: readonly ConsumerInfo[] }> {
  const { answers } = await ask({ group: groupInfo(key, name) });
  const { pending, consumers } = answers.group ?? { pending: 0, consumers: 0 };
  if (consumers === 0 || consumers > MOST_CONSUMERS) return { pending, consumers: [] };
  const { answers: found } = await ask({ consumers: consumersOf(key, name), group: groupInfo(key, name) });
  return { pending: found.group?.pending ?? pending, consumers: found.consumers };
}

function workerOf({ name, pending, idleMs }: ConsumerInfo): SourceWorker {
  return { id: name, hosts: hostsIn(name), hostsGuessed: true, tasks: pending, idleMs };
}

/**
 * What may be the host in a consumer's name: `host`, `host-17`, `host:17`, `worker@host`, `host-<UUID>`. Of the pods of a pool none
 * has a name that is the beginning of another's. Exported for its test.
 */
export function hostsIn(name: string): readonly string[] {
  const hosts = new Set<string>();
  for (const part of name.slice(0, 300).split(/[^A-Za-z0-9._-]+/)) {
    let host = part;
    for (let i = 0; i < MOST_PARTS && host !== ''; i++) {
      hosts.add(host);
      host = host.replace(/[-_.]?[^-_.]*$/, '');
    }
  }
  return [...hosts];
}
