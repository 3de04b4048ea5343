/**
 * Who is connected to Redis as which worker. Every connection of a worker has a name (`CLIENT SETNAME`) made from queue
 * and worker id, and the worker's hash says under which one: empty where it could not have any.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';

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
 * The lives of workers, in their order, in one round trip. Epochs are read before connections: an epoch of which no
 * connection is found had none from then on, whatever was registered meanwhile.
 */
export async function readLives(
  redis: Redis,
  workers: readonly { readonly keys: QueueKeys; readonly worker: string }[],
): Promise<Life[]> {
  const pipeline = redis.pipeline();
  for (const { keys, worker } of workers) pipeline.hmget(keys.worker(worker), 'epoch', 'client', 'started');
  const replies = (await pipeline.client('LIST').exec()) ?? [];
  const [refusal, list] = replies[workers.length] ?? [];
  if (refusal && refusal.name !== 'ReplyError') throw refusal;
  const names = refusal ? undefined : namesIn(String(list));
  return workers.map((_, i): Life => {
    const [error, fields] = replies[i] ?? [];
    if (error) throw error;
    const [epoch, client, started] = fields as (string | null)[];
    return {
      epoch: Number(epoch) || undefined,
      started: Number(started),
      connected: names && client ? names.has(client) : undefined,
    };
  });
}

/** The names in a reply to `CLIENT LIST`. */
function namesIn(list: string): ReadonlySet<string> {
  return new Set(Array.from(list.matchAll(/ name=(\S+)/g), ([, name = '']) => name));
}
