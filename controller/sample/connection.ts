/** The connections of a sampler, one for each server, which connect in the background and never give up. */
import calculateSlot from 'cluster-key-slot';
import type { Redis } from 'ioredis';
import { openClusterLinks, type ClusterLinks } from '../../queue/connection/cluster/links.ts';
import {
  addressName,
  closeRedis,
  describeRedisError,
  RedisTimeout,
  within,
  type RedisAddress,
} from '../../queue/connection/connection.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import type { Logger } from '../../runtime/log.ts';
import { blindnessOf, type Blindness } from './read.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const LOG_INTERVAL_MS = 60_000;

export interface SamplerConnection extends AsyncDisposable {
  readonly redisOf: RedisOf;
  /** The queue is no longer sampled. */
  forget(keys: QueueKeys): void;
  /** Resolves when the first attempt to connect to the servers of these queues has succeeded, failed or timed out. */
  readonly attempted: (queues: readonly QueueKeys[]) => Promise<void>;
  /** Why nothing could be read: `error`, or the reason why there is no connection. */
  readonly explain: (error: unknown) => Blindness;
  /** Of a Redis Cluster. */
  readonly links: ClusterLinks | undefined;
}

export interface SamplerConnectionOptions {
  readonly address: RedisAddress;
  readonly log: Logger;
  /** Called with each connection when it is opened. */
  readonly onOpen: (redis: Redis) => void;
  /** The slots of these queues are on another primary now. */
  readonly onMoved: (queues: readonly string[]) => void;
}

export function connectSampler(options: SamplerConnectionOptions): SamplerConnection {
  return options.address.cluster ? connectToCluster(options) : connectToServer(options);
}

function connectToServer({ address, log, onOpen }: SamplerConnectionOptions): SamplerConnection {
  const attempt = createAttempt();
  // all commands of one tick travel in one write
  const redis = defineScripts(
    openBounded(address, {
      enableAutoPipelining: true,
      enableOfflineQueue: false,
      onError: attempt.failed,
    }),
  );
  redis.on('ready', attempt.succeeded);
  onOpen(redis);
  const explainCause = createExplain(address, log);
  return {
    redisOf: () => redis,
    forget: () => undefined,
    attempted: () => within(CONNECT_TIMEOUT_MS, attempt.made, 'the connection').catch(() => {}),
    explain: (error) => explainCause(redis.status === 'ready' ? error : (attempt.lastError ?? error)),
    links: undefined,
    [Symbol.asyncDispose]: () => closeRedis(redis),
  };
}

/** A link to each primary that has queues, and a client for each of their slots. */
function connectToCluster({ address, log, onOpen, onMoved }: SamplerConnectionOptions): SamplerConnection {
  const attempt = createAttempt();
  const slots = new Map<number, { readonly redis: Redis; readonly queues: Set<string> }>();
  const links = openClusterLinks({
    address,
    open: openBounded,
    waits: false,
    passingMs: 0,
    onLink: (link) => {
      link.on('ready', attempt.succeeded);
      onOpen(link);
    },
    onError: attempt.failed,
    onMoved: (moved) => {
      onMoved(Array.from(slots, ([slot, { queues }]) => (moved.has(slot) ? [...queues] : [])).flat());
    },
  });
  const redisOf = ({ queue }: QueueKeys): Redis => {
    const slot = calculateSlot(queue);
    const known = slots.get(slot) ?? { redis: defineScripts(links.client(queue)), queues: new Set() };
    slots.set(slot, known);
    known.queues.add(queue);
    return known.redis;
  };
  /** Resolves at once where a failure is known: it would only be repeated. */
  const connected = async (redis: Redis): Promise<void> => {
    if (redis.status === 'ready' || attempt.lastError) return;
    const ready = new Promise<void>((resolve) => void redis.once('ready', resolve));
    await Promise.race([ready, attempt.nextFailure()]);
  };
  const explainCause = createExplain(address, log);
  return {
    redisOf,
    forget: ({ queue }) => {
      const slot = calculateSlot(queue);
      const known = slots.get(slot);
      if (!known?.queues.delete(queue) || known.queues.size > 0) return;
      slots.delete(slot);
      known.redis.disconnect();
    },
    attempted: async (queues) => {
      const all = Promise.all(queues.map((keys) => connected(redisOf(keys))));
      await within(CONNECT_TIMEOUT_MS, all, 'the connection').catch(() => {});
    },
    explain: (error) => explainCause(error instanceof RedisTimeout ? (attempt.lastError ?? error) : error),
    links,
    [Symbol.asyncDispose]: async () => await links[Symbol.asyncDispose](),
  };
}

interface Attempt {
  /** Resolves when the first one has succeeded or failed. */
  readonly made: Promise<void>;
  readonly lastError: Error | undefined;
  readonly failed: (error: Error) => void;
  readonly succeeded: () => void;
  /** Resolves with the next one that fails. */
  nextFailure(): Promise<void>;
}

function createAttempt(): Attempt {
  const first = Promise.withResolvers<void>();
  const failures = new Set<() => void>();
  let lastError: Error | undefined;
  return {
    made: first.promise,
    get lastError() {
      return lastError;
    },
    failed: (error) => {
      lastError = error;
      first.resolve();
      for (const resolve of failures) resolve();
      failures.clear();
    },
    succeeded: () => {
      lastError = undefined;
      first.resolve();
    },
    nextFailure: () => new Promise((resolve) => void failures.add(resolve)),
  };
}

/** The server's own text goes to the log, at intervals, and not to the status, which the author of the address may read. */
function createExplain(address: RedisAddress, log: Logger): (cause: unknown) => Blindness {
  let loggedAt = -Infinity;
  return (cause) => {
    const shown = blindnessOf(cause, address);
    const whole = describeRedisError(cause, address);
    if (whole !== shown.why && performance.now() - loggedAt > LOG_INTERVAL_MS) {
      loggedAt = performance.now();
      const redisName = addressName(address);
      log.warn({ redis: redisName, error: whole }, 'Redis refused a command of the sampler');
      log.debug({ redis: redisName, err: cause }, 'the refused command');
    }
    return shown;
  };
}
