/**
 * Hears of changes to keys without polling, by Redis's own client-side caching (Redis ≥ 6, Valkey): a key that was
 * read through `reader` is remembered by the server, which says so, once, when it changes.
 *
 * Two connections: `reader`, with CLIENT TRACKING ON REDIRECT, and a listener (RESP2, subscribed to
 * `__redis__:invalidate`) that the notices are sent to. Nothing is written to the server and no setting is needed.
 *
 * A notice is a hint, not the truth: the consumer reads again, which also arms the key anew. Everything must be read
 * again when `onChange(undefined)` is called: after either connection came back (the server forgets what a
 * connection had read) and after FLUSHALL. Both are pinged, so that a half-open one is found (`socketTimeout`). After SWAPDB no server sends
 * notices, and with a full tracking table (`tracking-table-max-keys`) it sends some for keys that did not change: whoever watches
 * looks now and then anyway, and does not read again at once what has changed nothing.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { replyCode } from './connection/reply-code.ts';
import { interval, type Timer } from '../runtime/timers.ts';
import { renewConnection } from './connection/close.ts';
import { closeRedis, openRedis, within, type RedisAddress } from './connection/connection.ts';

const CHANNEL = '__redis__:invalidate';
const PING_EVERY_MS = 5_000;
/** A connection that owes an answer and brings no byte for so long is dead, ms. */
const SOCKET_TIMEOUT_MS = 5_000;

export interface KeyWatch extends AsyncDisposable {
  /** Read through this connection and the keys are armed until their first change. Never write through it. */
  readonly reader: Redis;
  /** Whether notices can arrive right now. */
  readonly armed: boolean;
}

/** The server does not let this user or connection track keys: use another way of waiting. */
export class TrackingRefused extends Error {
  override name = 'TrackingRefused';
}

/**
 * Opens the two connections and returns once tracking is on. `onChange` gets the keys that changed, or `undefined`
 * when any may have. Throws `TrackingRefused`, the connection's error when there is no connection after `timeoutMs`, or
 * the signal's reason when it is aborted before. `open` opens the connections: `openBounded` where the server is not believed.
 */
export async function openKeyWatch(
  address: RedisAddress,
  onChange: (keys: readonly string[] | undefined) => void,
  timeoutMs = 5_000,
  signal?: AbortSignal,
  open: typeof openRedis = openRedis,
): Promise<KeyWatch> {
  const link = new Link(address, onChange, open);
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

/** An ACL or a proxy says no; a wrong password, a server that loads or a connection that just went does not count. */
function isRefusal(error: unknown): boolean {
  const code = replyCode(error);
  return code === 'NOPERM' || (code === 'ERR' && !isGoneListener(error as Error));
}

/** The listener's connection went between two commands. The words of the server, which has no code for it (seen in Redis 7.0.15). */
function isGoneListener({ message }: Error): boolean {
  return /client ID you want redirect to does not exist/i.test(message);
}

/** What a notice says; what is no list of keys may be about any. */
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
  #pinging: Timer | undefined;
  #lastError: Error | undefined;
  #linking: Promise<void> = Promise.resolve();
  /** How many links are under way or to come. */
  #links = 0;

  constructor(
    address: RedisAddress,
    onChange: (keys: readonly string[] | undefined) => void,
    open: typeof openRedis,
  ) {
    const onError = (error: Error): void => void (this.#lastError = error);
    this.#onChange = onChange;
    // thousands of keys are armed with a few writes
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
    this.#pinging = interval(PING_EVERY_MS, () => this.#look()).unref();
  }

  async #link(): Promise<void> {
    try {
      // a subscribed RESP2 connection answers only a few commands: ask for its id before
      if (this.#listener.mode === 'subscriber') await this.#listener.unsubscribe(CHANNEL);
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
   * While a primary changes, the two connections may reach different servers, and on the reader's the listener's id would be
   * somebody else's: nothing would ever be heard. Throws then, and sends the listener to look for the server again.
   */
  async #expectSameServer(id: number, name: string | null): Promise<void> {
    const found: unknown = name && (await this.reader.client('LIST', 'ID', id).catch(() => undefined));
    if (!name || typeof found !== 'string' || found.includes(` name=${name} `)) return;
    renewConnection(this.#listener);
    throw new Error('the two connections of a watch reached different servers');
  }

  /** Both connections may come back at the same moment: one link at a time, and only the last one counts. */
  #relink(): void {
    this.#links++;
    const next = this.#linking
      .then(() => this.#link())
      .then(
        () => this.#onChange(undefined),
        (error: unknown) => {
          // a connection went away again, and its next `ready` tries anew; or the server refuses, and is asked again later
          this.#lastError = error as Error;
        },
      )
      .finally(() => this.#links--);
    this.#linking = next;
  }

  /**
   * Gives both connections something to answer, or a silent one would not be noticed; a ping that waits behind a long answer does
   * no harm. Links again where that failed although both are there, as while a script keeps the server busy.
   */
  #look(): void {
    const ready = [this.reader, this.#listener].filter(({ status }) => status === 'ready');
    // an error is an answer, too: Redis refuses PING while it cannot write its snapshot (MISCONF)
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
