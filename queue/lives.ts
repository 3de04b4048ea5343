/**
 * Who is connected to Redis as which worker. Every connection of a worker has a name (`CLIENT SETNAME`) made from queue
 * and worker id, and the worker's hash says under which one: empty where it could not have any.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';
import { readCut } from './read.ts';
import { asList, asText } from './reply-form.ts';

/** Of a field in a worker's hash, bytes: a name of a client has three for each that the worker's and the queue's have. */
const LONGEST = 4_096;

/** `millrace:queue:worker`, percent-encoded: the names of clients have neither spaces nor line breaks. */
export function clientName(queue: string, worker: string): string {
  return `millrace:${encodeURIComponent(queue.toWellFormed())}:${encodeURIComponent(worker.toWellFormed())}`;
}

/** What Redis knows of a worker that may be dead. */
export interface Life {
  /** `undefined` when it has none: it left, was reaped, or never registered. */
  readonly epoch: number | undefined;
  /** When that began, ms of Redis time. */
  readonly started: number;
  /** Whether a connection of it lives; `undefined` when that cannot be told. */
  readonly connected: boolean | undefined;
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
  const names = await connectedNames(redis);
  return told.map((fields): Life => {
    const [epoch, client, started] = asList(fields, 'the hash of a worker', 3).map((field) =>
      field === null ? '' : asText(field, 'a field of a worker', LONGEST),
    );
    return {
      epoch: Number(epoch) || undefined,
      started: Number(started),
      connected: names && client ? names.has(client) : undefined,
    };
  });
}

/** `undefined` where the server does not say. The reply grows with the server's clients, so callers read few at a time. */
async function connectedNames(redis: Redis): Promise<ReadonlySet<string> | undefined> {
  try {
    return namesIn(String(await redis.client('LIST')));
  } catch (error) {
    if ((error as Error).name === 'ReplyError') return undefined;
    throw error;
  }
}

/** The names in a reply to `CLIENT LIST`. */
function namesIn(list: string): ReadonlySet<string> {
  return new Set(Array.from(list.matchAll(/ name=(\S+)/g), ([, name = '']) => name));
}
