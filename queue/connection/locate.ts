/** A short-lived connection to a node that is asked for the address of a primary: a sentinel, or a node of a cluster. */
import type { ConnectionOptions } from 'node:tls';
import { Redis } from 'ioredis';
import type { Endpoint } from './address.ts';
import { dropRedis } from './close.ts';
import { connectorTo, type Paths } from './connector.ts';
import { guardReplies } from './reply-guard.ts';
import { within } from './within.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const ANSWER_TIMEOUT_MS = 3_000;

/** How to log in to a node: nothing, a password, or a user with one. */
export interface Login {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** How the node is reached. */
export interface NodeAccess extends Login {
  readonly tls: ConnectionOptions | undefined;
  readonly paths: Paths;
}

/** Resolves to what `ask` does with the connection; rejects with its error, or with why there was no connection. */
export async function askNode<T>(
  node: Endpoint,
  { username, password, tls, paths }: NodeAccess,
  what: string,
  ask: (redis: Redis) => Promise<T>,
): Promise<T> {
  let failed: Error | undefined;
  const fixed = { locate: () => Promise.resolve(node), wrong: () => undefined };
  const redis = new Redis({
    ...node,
    Connector: connectorTo(
      () => fixed,
      () => tls,
      false,
      paths,
    ),
    ...(password ? { password, ...(username ? { username } : {}) } : {}),
    ...(tls ? { tls } : {}),
    connectTimeout: CONNECT_TIMEOUT_MS,
    maxRetriesPerRequest: null,
    retryStrategy: () => null,
    enableReadyCheck: false,
    disableClientInfo: true,
    replyMapping: 'legacy',
    protocol: 2,
    lazyConnect: true,
  });
  // the least trusted of all: its answer decides where passwords are sent
  guardReplies(redis);
  redis.on('error', (error: Error) => (failed ??= error));
  try {
    return await within(CONNECT_TIMEOUT_MS + ANSWER_TIMEOUT_MS, ask(redis), what);
  } catch (error) {
    throw failed ?? error;
  } finally {
    dropRedis(redis);
  }
}

/** Host and port of a reply that begins with them. */
export function endpointOf(reply: unknown): Endpoint | undefined {
  if (!Array.isArray(reply)) return undefined;
  const [host, port] = reply.map(String);
  return host && Number(port) > 0 && Number(port) < 65_536 ? { host, port: Number(port) } : undefined;
}
