/**
 * Who is connected to Redis as which worker. Every connection of a worker has a name (`CLIENT SETNAME`) made from queue
 * and worker id and a mark of its process, and the worker's hash says under which one: empty where it could not have any.
 */
import type { Redis } from 'ioredis';
import { isReply } from '../connection/reply-code.ts';
import type { QueueKeys } from '../keys.ts';
import { readCut } from '../scripts/read.ts';
import { asList, asText } from '../scripts/decode-reply.ts';

/** Of a field in a worker's hash, bytes: a name of a client has three for each that the worker's and the queue's have. */
const LONGEST = 4_096;

/** `millrace:queue:worker:mark`, percent-encoded: the names of clients have neither spaces nor line breaks. */
export function clientName(queue: string, worker: string, mark: string): string {
  return `millrace:${encode(queue).slice(0, LONGEST_QUEUE)}:${encode(worker)}:${mark}`;
}

/** Of a queue, or of the names of many, so that all is told by the part of the name that is read back: characters. */
const LONGEST_QUEUE = 256;

const encode = (text: string): string => encodeURIComponent(text.toWellFormed());

/** Who has a worker's name. */
export interface Holder {
  /** `undefined` when nobody has. */
  readonly epoch: number | undefined;
  /** Of its process; empty for workers of older versions. */
  readonly mark: string;
  /** Changes as long as it lives: with each turn, and with each renewal of its lease. */
  readonly beat: string;
  /** What the last epoch was ended for (reap.lua), for some seconds. */
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
    beat: `${turn} ${deadline}`,
    ended: ended ?? undefined,
  };
}

/** What Redis knows of a worker that may be dead. */
export interface Life {
  /** `undefined` when it has none: it left, was reaped, or never registered. */
  readonly epoch: number | undefined;
  /** When that began, ms of Redis time. */
  readonly started: number;
  /** Whether a connection of it lives; `undefined` when that cannot be told. */
  readonly connected: boolean | undefined;
  /** Where one of its connections comes from, as Redis sees it. */
  readonly address: string | undefined;
}

/**
 * The lives of workers, in their order, in two round trips. Epochs are read before connections: an epoch of which no
 * connection is found had none from then on, whatever was registered meanwhile.
 */
export async function readLives(
  redis: Redis,
  workers: readonly { readonly keys: QueueKeys; readonly worker: string }[],
): Promise<Life[]> {
  const told = await Promise.all(
    workers.map(({ keys, worker }) => {
      const fields = ['epoch', 'client', 'started'];
      return readCut(redis, keys.worker(worker), { bytes: LONGEST, values: 3 }, 'HMGET', ...fields);
    }),
  );
  const addresses = await connectedAddresses(redis);
  return told.map((fields): Life => {
    const [epoch, client, started] = asList(fields, 'the hash of a worker', 3).map((field) =>
      field === null ? '' : asText(field, 'a field of a worker', LONGEST),
    );
    return {
      epoch: Number(epoch) || undefined,
      started: Number(started),
      connected: addresses && client ? addresses.has(client) : undefined,
      address: client ? addresses?.get(client) : undefined,
    };
  });
}

/**
 * By the names of connections, where one comes from; `undefined` where the server does not say. The reply grows with the
 * clients of the server, so callers read few at a time.
 */
async function connectedAddresses(redis: Redis): Promise<ReadonlyMap<string, string> | undefined> {
  try {
    return addressesIn(String(await redis.client('LIST')));
  } catch (error) {
    if (isReply(error)) return undefined;
    throw error;
  }
}

/** By the names in a reply to `CLIENT LIST`, the address of a connection that has it. */
function addressesIn(list: string): ReadonlyMap<string, string> {
  return new Map(
    Array.from(list.matchAll(/ addr=(\S*).*? name=(\S+)/g), ([, address = '', name = '']) => [name, address]),
  );
}

/**
 * Ends the waits of workers by the ids of their connections. An id means something on one server only: after a failover or a
 * restart it may be anybody's, so only connections of workers are touched (a wrong one looks around once more), or only those
 * of `worker`. Resolves to how many were; where the server does not say how connections are called, to none. Never rejects.
 */
export async function unblockWaits(redis: Redis, ids: readonly number[], worker?: string): Promise<number> {
  if (ids.length === 0) return 0;
  const list = await redis.client('LIST', 'ID', ...ids).catch(() => '');
  const found = Array.from(String(list).matchAll(/^id=(\d+) .*? name=millrace:([^: ]*):([^: ]*)/gm));
  const theirs = found.filter(([, , , name]) => worker === undefined || name === encode(worker));
  await Promise.allSettled(theirs.map(([, id = '']) => redis.client('UNBLOCK', id)));
  return theirs.length;
}
