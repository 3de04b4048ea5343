/**
 * Identifies the Redis connections of workers. Every connection of a worker has a name (`CLIENT SETNAME`) made of the queue, the
 * worker id and a mark of its process, and the worker's hash stores that name: empty if it could not be set.
 */
import type { Redis } from 'ioredis';
import { isReply } from '../connection/reply-code.ts';
import type { QueueKeys } from '../keys.ts';
import { readCut } from '../scripts/read.ts';
import { asList, asText } from '../scripts/decode-reply.ts';

/** Longest field of a worker's hash, bytes: percent-encoding a client name may triple those of the worker and the queue. */
const LONGEST = 4_096;

/** `millrace:queue:worker:mark`, percent-encoded: client names may not contain spaces or line breaks. */
export function clientName(queue: string, worker: string, mark: string): string {
  return `millrace:${encode(queue).slice(0, LONGEST_QUEUE)}:${encode(worker)}:${mark}`;
}

/** Longest queue in a client name, characters, so that the whole name fits into the part that is read back. */
const LONGEST_QUEUE = 256;

const encode = (text: string): string => encodeURIComponent(text.toWellFormed());

/** The process that holds a worker's id. */
export interface Holder {
  /** `undefined` if none does. */
  readonly epoch: number | undefined;
  /** Mark of its process; empty for workers of older versions. */
  readonly mark: string;
  /** Number of its last turn. */
  readonly turn: number;
  /** When its lease ends, ms of Redis time. */
  readonly deadline: number;
  /** Why the last epoch was ended (reap.lua), for some seconds. */
  readonly ended: string | undefined;
}

export async function readHolder(redis: Redis, keys: QueueKeys, worker: string): Promise<Holder> {
  const [[epoch, mark, turn, ended], deadline] = await Promise.all([
    redis.hmget(keys.worker(worker), 'epoch', 'mark', 'turn', 'ended'),
    redis.zscore(keys.workers, worker),
  ]);
  return {
    epoch: Number(epoch) || undefined,
    mark: mark ?? '',
    turn: Number(turn),
    deadline: Number(deadline),
    ended: ended ?? undefined,
  };
}

/**
 * Whether the process that held the id then has made a turn since, or renewed its lease. Neither of them ever goes down by that: what is
 * lower now is that of a server which went back in time, and no sign of life.
 */
export function isRenewed(
  then: Pick<Holder, 'epoch' | 'turn' | 'deadline'>,
  now: Pick<Holder, 'epoch' | 'turn' | 'deadline'>,
): boolean {
  if (now.epoch === undefined || now.epoch !== then.epoch) return false;
  return now.turn > then.turn || (now.turn === then.turn && now.deadline > then.deadline);
}

/** Records in Redis of a worker that may be dead. */
export interface WorkerRecord {
  /** `undefined` if it has none: it left, was reaped, or never registered. */
  readonly epoch: number | undefined;
  /** When the epoch began, ms of Redis time. */
  readonly started: number;
  /**
   * Whether a connection of it exists; `undefined` if that is unknown. Where it has none, that means nothing unless it once had one to this
   * server: of one that has taken over, or was restarted, it may not have heard yet. Nor on a replica: it may know the one that took over.
   */
  readonly connected: boolean | undefined;
  /** The remote address of one of its connections, as seen by Redis. */
  readonly address: string | undefined;
}

/**
 * The records of workers, in order, in two round trips. Epochs are read before connections: an epoch without a connection has
 * had none since it was read, whatever has registered meanwhile.
 */
export async function readWorkerRecords(
  redis: Redis,
  workers: readonly { readonly keys: QueueKeys; readonly worker: string }[],
): Promise<WorkerRecord[]> {
  const hashes = await Promise.all(
    workers.map(({ keys, worker }) => {
      const fields = ['epoch', 'client', 'started', 'server'];
      return readCut(redis, keys.worker(worker), { bytes: LONGEST, values: 4 }, 'HMGET', ...fields);
    }),
  );
  const [addresses, { run, isReplica }] = await Promise.all([connectedAddresses(redis), identityOf(redis)]);
  return hashes.map((fields): WorkerRecord => {
    const [epoch, client, started, server] = asList(fields, 'the hash of a worker', 4).map((field) =>
      field === null ? '' : asText(field, 'a field of a worker', LONGEST),
    );
    const address = client ? addresses?.get(client) : undefined;
    // workers of earlier versions do not note the server
    const isKnownHere = !isReplica && (!server || run === '' || server === run);
    return {
      epoch: Number(epoch) || undefined,
      started: Number(started),
      connected: address !== undefined || (addresses && client && isKnownHere ? false : undefined),
      address,
    };
  });
}

/** Names this run of a server: another one, and the same after a restart, has another name. Empty if it is not told. */
export async function runOf(redis: Redis): Promise<string> {
  return (await identityOf(redis)).run;
}

/**
 * Of the server that answers. A primary that was replaced, which may answer as a replica, does not know who has connected to its successor
 * since; what it is told to write goes to that.
 */
async function identityOf(redis: Redis): Promise<{ readonly run: string; readonly isReplica: boolean }> {
  const text = await redis.info('default').catch((error: unknown) => {
    if (isReply(error)) return '';
    throw error;
  });
  return { run: /^run_id:(\w{1,64})\r?$/m.exec(text)?.[1] ?? '', isReplica: /^role:slave\r?$/m.test(text) };
}

/**
 * Remote addresses by connection name; `undefined` if the server refuses. The reply grows with the number of the server's
 * clients, so few callers may read it at a time.
 */
async function connectedAddresses(redis: Redis): Promise<ReadonlyMap<string, string> | undefined> {
  try {
    return addressesIn(String(await redis.client('LIST')));
  } catch (error) {
    if (isReply(error)) return undefined;
    throw error;
  }
}

/** Remote addresses by name in a reply to `CLIENT LIST`. */
function addressesIn(list: string): ReadonlyMap<string, string> {
  return new Map(
    Array.from(list.matchAll(/ addr=(\S*).*? name=(\S+)/g), ([, address = '', name = '']) => [name, address]),
  );
}

/**
 * Ends the blocking waits of workers by the ids of their connections. An id is meaningful on one server only: after a failover or
 * a restart it may be any client's, so only connections of workers are unblocked (a wrong one just makes another turn), or only
 * those of `worker`. Resolves to their number; to 0 if the server does not return the names of connections. Never rejects.
 */
export async function unblockWaits(redis: Redis, ids: readonly number[], worker?: string): Promise<number> {
  if (ids.length === 0) return 0;
  const list = await redis.client('LIST', 'ID', ...ids).catch(() => '');
  const found = Array.from(String(list).matchAll(/^id=(\d+) .*? name=millrace:([^: ]*):([^: ]*)/gm));
  const theirs = found.filter(([, , , name]) => worker === undefined || name === encode(worker));
  await Promise.allSettled(theirs.map(([, id = '']) => redis.client('UNBLOCK', id)));
  return theirs.length;
}
