/**
 * How ioredis gets a stream to the server, instead of its own two ways: of those the one through sentinels encrypts what goes
 * to the primary only when one more option says so, and repeats every 10 ms. Here is one place that opens a stream, and one
 * condition under which it is encrypted; the user name and the password go over it and over nothing else.
 */
import { lookup, type LookupAddress } from 'node:dns';
import { connect as connectPlain, isIP, Socket, type LookupFunction } from 'node:net';
import { connect as connectSecure, type ConnectionOptions } from 'node:tls';
import { AbstractConnector, type RedisOptions } from 'ioredis';
import { sleep } from '../../runtime/timers.ts';
import type { Endpoint, HostGuard } from './address.ts';
import { HostRefused } from './redis-errors.ts';

/** Where the server is, found anew for each connection. */
export interface Locator {
  /** Rejects with Error when that cannot be told now. */
  locate(): Promise<Endpoint>;
  /** What was found last is no primary: look elsewhere first. */
  wrong(): void;
}

type Stream = Awaited<ReturnType<AbstractConnector['connect']>>;

/** A class for ioredis's option `Connector`. `tls` as Node takes it; `undefined` for an open connection. */
export function connectorTo(
  openLocator: () => Locator,
  tls: ConnectionOptions | undefined,
  primaryOnly: boolean,
  guard?: HostGuard,
): NonNullable<RedisOptions['Connector']> {
  return class extends AbstractConnector {
    readonly #retry: RedisOptions['retryStrategy'];
    readonly #locator = openLocator();
    #waiting = new AbortController();

    constructor(options: unknown) {
      const { disconnectTimeout = 2_000, retryStrategy } = options as RedisOptions;
      super(disconnectTimeout);
      this.#retry = retryStrategy;
    }

    override async connect(emit: (event: string, error: Error) => void): Promise<Stream> {
      this.connecting = true;
      this.#waiting = new AbortController();
      for (let attempt = 1; ; attempt++) {
        const found = await this.#locator.locate().catch((error: unknown) => error as Error);
        if (!this.connecting) throw new Error('Connection is closed.');
        if (!(found instanceof Error)) return this.#open(found);
        const pause = this.#retry?.(attempt);
        if (typeof pause !== 'number') throw found;
        emit('error', found);
        await sleep(pause, this.#waiting.signal);
        if (!this.connecting) throw new Error('Connection is closed.');
      }
    }

    #open({ host, port }: Endpoint): Stream {
      const to = { host, port, ...(guard ? { lookup: guarded(guard) } : {}) };
      const stream =
        guard && isIP(host) !== 0 && !guard.allows(host, host)
          ? refused()
          : tls
            ? connectSecure({ ...to, ...tls })
            : connectPlain(to);
      this.stream = stream;
      // before ioredis listens itself
      stream.once('error', (error) => (this.firstError = error));
      return stream;
    }

    /** `info`: the server's answer to INFO, empty where it gave none. */
    override check({ role }: { role?: string }): boolean {
      if (!primaryOnly || role === undefined || role === 'master') return true;
      this.#locator.wrong();
      return false;
    }

    override disconnect(): void {
      super.disconnect();
      this.#waiting.abort();
    }
  };
}

/** A connection that fails as one that was refused by the network does, so that it is tried again at the usual pace. */
function refused(): Socket {
  const socket = new Socket();
  process.nextTick(() => socket.destroy(new HostRefused('the address is not allowed')));
  return socket;
}

/** Finds the addresses of a name as Node does, but for those that may not be connected to. */
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
