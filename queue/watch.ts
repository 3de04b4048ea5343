/**
 * Watches keys for changes without polling, by Redis's client-side caching (Redis ≥ 6, Valkey): the server remembers a key that
 * was read through `reader`, and sends one notice when it changes.
 *
 * Two connections: `reader`, with CLIENT TRACKING ON REDIRECT, and a listener (RESP2, subscribed to
 * `__redis__:invalidate`) that the notices are sent to. Nothing is written to the server and no setting is needed.
 *
 * A notice is a hint, not the truth: the consumer reads again, which also re-arms the key. Everything must be read again when
 * `onChange(undefined)` is called: after either connection was re-established (the server forgets what a connection had read) and
 * after FLUSHALL. Both are pinged, so that a half-open one is found (`socketTimeout`). After SWAPDB no server sends notices, and
 * with a full tracking table (`tracking-table-max-keys`) it sends some for keys that did not change: consumers therefore also
 * read now and then without a notice, and do not immediately repeat a read that found no change.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { replyCode } from './connection/reply-code.ts';
import { interval, type Timer } from '../runtime/timers.ts';
import { renewConnection } from './connection/close.ts';
import { closeRedis, openRedis, within, type RedisAddress } from './connection/connection.ts';

const CHANNEL = '__redis__:invalidate';
const PING_EVERY_MS = 5_000;
/** A connection with an outstanding reply that receives nothing for this long is dead, ms. */
const SOCKET_TIMEOUT_MS = 5_000;

export interface KeyWatch extends AsyncDisposable {
  /** Keys read through this connection are armed until their first change. Never write through it. */
  readonly reader: Redis;
  /** Whether notices can arrive now. */
  readonly armed: boolean;
}

/** After a refusal, the server is asked again no earlier than this: the rights of a user can be mended, ms. */
export const REFUSED_PAUSE_MS = 60_000;

/** The server does not allow this user or connection to track keys: wait in another way. */
export class TrackingRefused extends Error {
  override name = 'TrackingRefused';
}

/**
 * Opens the two connections and resolves once tracking is on. `onChange` receives the keys that changed, or `undefined`
 * when any may have. Throws `TrackingRefused`, the connection's error when there is no connection after `timeoutMs`, or
 * the signal's reason when it is aborted before. `open` opens the connections: `openBounded` for untrusted servers. Both are
 * pinged every `pingEveryMs`.
 */
export async function openKeyWatch(
  address: RedisAddress,
  onChange: (keys: readonly string[] | undefined) => void,
  timeoutMs = 5_000,
  signal?: AbortSignal,
  open: typeof openRedis = openRedis,
  pingEveryMs = PING_EVERY_MS,
): Promise<KeyWatch> {
  const link = new Link(address, onChange, open, pingEveryMs);
  const aborted = new Promise<never>((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  try {
    await Promise.race([link.start(timeoutMs), aborted]);
    return link;
  } catch (error) {
    await link[Symbol.asyncDispose]();
    throw error;
  }
}

/** Refused by an ACL or a proxy; a wrong password, a loading server or a connection that was just lost does not count. */
function isRefusal(error: unknown): boolean {
  const code = replyCode(error);
  return code === 'NOPERM' || (code === 'ERR' && !isGoneListener(error as Error));
}

/** The listener was lost between two commands. Matches the text, as there is no code for it (seen in Redis 7.0.15). */
function isGoneListener({ message }: Error): boolean {
  return /client ID you want redirect to does not exist/i.test(message);
}

/** The keys of a notice; `undefined`, which means any, if it is not a list of keys. */
function changedIn(keys: unknown): readonly string[] | undefined {
  return Array.isArray(keys) && keys.length > 0 && keys.every((key) => Buffer.isBuffer(key))
    ? keys.map(String)
    : undefined;
}

class Link implements KeyWatch {
  readonly reader: Redis;
  readonly #listener: Redis;
  readonly #onChange: (keys: readonly string[] | undefined) => void;
  #armed = false;
  #started = false;
  readonly #pingEveryMs: number;
  #pinging: Timer | undefined;
  #lastError: Error | undefined;
  #linking: Promise<void> = Promise.resolve();
  /** Links in progress or pending. */
  #links = 0;

  constructor(
    address: RedisAddress,
    onChange: (keys: readonly string[] | undefined) => void,
    open: typeof openRedis,
    pingEveryMs: number,
  ) {
    this.#pingEveryMs = pingEveryMs;
    const onError = (error: Error): void => void (this.#lastError = error);
    this.#onChange = onChange;
    // arms thousands of keys with a few writes to the socket
    const common = { onError, socketTimeout: SOCKET_TIMEOUT_MS };
    this.reader = open(address, { ...common, enableAutoPipelining: true });
    const connectionName = `millrace-watch:${randomUUID()}`;
    this.#listener = open(address, { ...common, protocol: 2, autoResubscribe: false, connectionName });
    this.#listener.on('messageBuffer', (channel: unknown, keys: unknown) => {
      if (String(channel) === CHANNEL) this.#onChange(changedIn(keys));
    });
    for (const redis of [this.reader, this.#listener]) {
      redis.on('close', () => void (this.#armed = false));
      redis.on('ready', () => this.#started && this.#relink());
    }
  }

  get armed(): boolean {
    return this.#armed;
  }

  async start(timeoutMs: number): Promise<void> {
    try {
      await within(timeoutMs, this.#link(), 'CLIENT TRACKING');
    } catch (error) {
      throw error instanceof TrackingRefused ? error : (this.#lastError ?? error);
    }
    this.#started = true;
    this.#pinging = interval(this.#pingEveryMs, () => this.#check()).unref();
  }

  async #link(): Promise<void> {
    try {
      this.#expectUnsubscribed();
      const [id, name] = await Promise.all([
        this.#listener.client('ID'),
        this.#listener.client('GETNAME').catch(() => null),
      ]);
      await this.#listener.subscribe(CHANNEL);
      await this.#expectSameServer(id, name);
      await this.reader.client('TRACKING', 'OFF');
      await this.reader.client('TRACKING', 'ON', 'REDIRECT', id);
    } catch (error) {
      const { message } = error as Error;
      if (!isRefusal(error)) throw error;
      throw new TrackingRefused(`the server refuses CLIENT TRACKING (${message})`, { cause: error });
    }
    this.#armed = true;
  }

  /**
   * A subscribed RESP2 connection accepts only a few commands, and does not tell its id. Throws then, and makes the listener reconnect:
   * UNSUBSCRIBE would be a right more for the user to have.
   */
  #expectUnsubscribed(): void {
    if (this.#listener.mode !== 'subscriber') return;
    renewConnection(this.#listener);
    throw new Error('the listener of a watch begins anew');
  }

  /**
   * During a failover the two connections may reach different servers, and on the reader's the listener's id would be that of
   * another client: no notice would ever arrive. Throws then, and makes the listener reconnect.
   */
  async #expectSameServer(id: number, name: string | null): Promise<void> {
    const found: unknown = name && (await this.reader.client('LIST', 'ID', id).catch(() => undefined));
    if (!name || typeof found !== 'string' || found.includes(` name=${name} `)) return;
    renewConnection(this.#listener);
    throw new Error('the two connections of a watch reached different servers');
  }

  /** Both connections may be re-established at the same moment: one link at a time, and only the last one counts. */
  #relink(): void {
    this.#links++;
    const next = this.#linking
      .then(() => this.#link())
      .then(
        () => this.#onChange(undefined),
        (error: unknown) => {
          // a connection was lost again, and its next `ready` retries; or the server refuses, and `#check` retries later
          this.#lastError = error as Error;
        },
      )
      .finally(() => this.#links--);
    this.#linking = next;
  }

  /**
   * Pings both connections, as a silent one would go unnoticed otherwise; a ping behind a long reply does no harm. Links again if
   * that failed although both are connected, e.g. while a script keeps the server busy.
   */
  #check(): void {
    const ready = [this.reader, this.#listener].filter(({ status }) => status === 'ready');
    // an error is a reply, too: Redis refuses PING while it cannot write its snapshot (MISCONF)
    for (const redis of ready) redis.ping().catch(() => undefined);
    if (ready.length === 2 && !this.#armed && this.#links === 0) this.#relink();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#pinging?.clear();
    this.#started = false;
    this.#armed = false;
    await Promise.all([closeRedis(this.reader), closeRedis(this.#listener)]);
  }
}
