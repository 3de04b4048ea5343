/**
 * Opens the stream to the server for ioredis, replacing its own two connectors: its sentinel connector encrypts the connection
 * to the primary only if a further option is set, and retries every 10 ms. Here one place opens a stream, under one condition
 * for encryption; user name and password are sent over it and over nothing else.
 */
import { lookup, type LookupAddress } from 'node:dns';
import { connect as connectPlain, isIP, Socket, type LookupFunction } from 'node:net';
import { checkServerIdentity, connect as connectSecure, type ConnectionOptions } from 'node:tls';
import { AbstractConnector, type RedisOptions } from 'ioredis';
import { sleep } from '../../runtime/timers.ts';
import type { Endpoint, HostGuard, RedisAddress } from './address.ts';
import { HostRefused } from './redis-errors.ts';

/** Finds the server anew for each connection. */
export interface Locator {
  /** Rejects with Error when it cannot be located now. */
  locate(): Promise<Endpoint>;
  /** The last result was no primary, or no connection to it came about: search elsewhere first. */
  wrong(): void;
}

type Stream = Awaited<ReturnType<AbstractConnector['connect']>>;

/** The addresses to which connections are opened: see `RedisAddress`. */
export type Paths = Pick<RedisAddress, 'guard' | 'route'>;

/** A class for ioredis's option `Connector`. `tlsNow` as Node takes it; returns `undefined` for an open connection. */
export function connectorTo(
  openLocator: () => Locator,
  tlsNow: () => ConnectionOptions | undefined,
  primaryOnly: boolean,
  { guard, route }: Paths = {},
): NonNullable<RedisOptions['Connector']> {
  return class extends AbstractConnector {
    readonly #retry: RedisOptions['retryStrategy'];
    readonly #locator = openLocator();
    #waiting = new AbortController();
    /** A connection was opened and has not become one to a primary. */
    #unproven = false;

    constructor(options: unknown) {
      const { disconnectTimeout = 2_000, retryStrategy } = options as RedisOptions;
      super(disconnectTimeout);
      this.#retry = retryStrategy;
    }

    override async connect(emit: (event: string, error: Error) => void): Promise<Stream> {
      this.connecting = true;
      this.#waiting = new AbortController();
      // who named a server that is gone may go on naming it: sentinels can disagree for as long as it is away
      if (this.#unproven) this.#locator.wrong();
      this.#unproven = false;
      for (let attempt = 1; ; attempt++) {
        const found = await this.#find().catch((error: unknown) => error as Error);
        if (!this.connecting) throw new Error('Connection is closed.');
        if (!(found instanceof Error)) return this.#open(found);
        const pause = this.#retry?.(attempt);
        if (typeof pause !== 'number') throw found;
        emit('error', found);
        await sleep(pause, this.#waiting.signal);
        if (!this.connecting) throw new Error('Connection is closed.');
      }
    }

    /** Where to connect to, and the host that a certificate is for, if that is another one. */
    async #find(): Promise<Endpoint & { readonly certified?: string }> {
      const server = await this.#locator.locate();
      const to = await route?.(server);
      return to && to.host !== server.host ? { ...to, certified: server.host } : (to ?? server);
    }

    #open({ host, port, certified }: Endpoint & { readonly certified?: string }): Stream {
      const own = tlsNow();
      const tls = own && { ...(certified ? { servername: certified } : {}), ...own };
      const to = { host, port, ...(guard ? { lookup: guarded(guard) } : {}) };
      const stream =
        guard && isIP(host) !== 0 && !guard.allows(host, host)
          ? refused()
          : tls
            ? connectSecure({ ...to, ...withoutAddress(tls) })
            : connectPlain(to);
      this.stream = stream;
      this.#unproven = true;
      // before ioredis listens itself
      stream.once('error', (error) => (this.firstError = error));
      return stream;
    }

    /** `info`: the server's answer to INFO, empty where it gave none. Called when a connection can be used. */
    override check({ role }: { role?: string }): boolean {
      const found = !primaryOnly || role === undefined || role === 'master';
      if (found) this.#unproven = false;
      return found;
    }

    override disconnect(): void {
      super.disconnect();
      this.#waiting.abort();
    }
  };
}

/** The name that is expected in a certificate may be an address, which must not be sent as a server's name (RFC 6066). */
function withoutAddress({ servername, ...tls }: ConnectionOptions): ConnectionOptions {
  if (servername === undefined || isIP(servername) === 0)
    return { ...tls, ...(servername ? { servername } : {}) };
  return {
    ...tls,
    checkServerIdentity: (_host, certificate) => checkServerIdentity(servername, certificate),
  };
}

/** A connection that fails like one that the network refused, so that it is retried at the usual pace. */
function refused(): Socket {
  const socket = new Socket();
  process.nextTick(() => socket.destroy(new HostRefused('the address is not allowed')));
  return socket;
}

/** Resolves a name as Node does, leaving out addresses that are not allowed. */
function guarded(guard: HostGuard): LookupFunction {
  return (host, options, done) => {
    lookup(host, { ...options, all: true }, (error, found: LookupAddress[] | undefined) => {
      const allowed = (found ?? []).filter(({ address }) => guard.allows(host, address));
      const [first] = allowed;
      if (error) done(error, '', 0);
      else if (!first) done(new HostRefused('no address of the host is allowed'), '', 0);
      else if (options.all) done(null, allowed);
      else done(null, first.address, first.family);
    });
  };
}
