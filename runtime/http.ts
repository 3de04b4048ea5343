/**
 * The small HTTP server that every process has: `/healthz` (alive), `/readyz` (able to do its work) and `/metrics`.
 * A probe that fails answers 503 with a human-readable reason.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { MetricsSource } from './metrics.ts';
import { derOf, followTls, readTls, type TlsFiles } from './tls-files.ts';

export interface HttpServerOptions {
  readonly port: number;
  /** The flag that sets the port, for the error where it is in use; `--http-port` by default. */
  readonly flag?: string;
  readonly host?: string;
  readonly metrics: MetricsSource;
  /** Why the process should be restarted; `undefined` if it is healthy. */
  readonly unhealthy: () => string | undefined;
  /** Why it cannot work at the moment; `undefined` if it can. */
  readonly unready: () => string | undefined;
  /** Why a client may not read `/metrics`; by default everyone may. The probes are for everyone. */
  readonly refusesMetrics?:
    | ((request: IncomingMessage) => Promise<{ readonly status: number; readonly error: string } | undefined>)
    | undefined;
  /** Serves HTTPS with the certificate and key in these files, which may change. */
  readonly tls?: TlsFiles | undefined;
  /** Serves everything else. */
  readonly route?: HttpRoute | undefined;
}

/** Answers a request, immediately or later, or returns `false` and leaves it to others. `path` is without the query. */
export type HttpRoute = (request: IncomingMessage, response: ServerResponse, path: string) => boolean;

export interface HttpServer extends AsyncDisposable {
  readonly port: number;
  /** DER of the current certificate; `undefined` without TLS. */
  readonly certificate: Buffer | undefined;
  /** Whether the server alone keeps the process alive; it does at first. */
  hold(alive: boolean): void;
}

/** An incomplete request is cut off after this, ms: probes must not wait behind thousands of them. */
const LIMITS = { headersTimeout: 5_000, requestTimeout: 30_000, connectionsCheckingInterval: 1_000 };
const MOST_CONNECTIONS = 2_048;

/** Listens until it is disposed. Rejects if the port is unavailable. */
export async function serveHttp(options: HttpServerOptions): Promise<HttpServer> {
  const { flag = '--http-port' } = options;
  const material = options.tls && (await readTls(options.tls));
  let certificate = material && derOf(material);
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const answer = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(status, { 'content-type': type, 'x-content-type-options': 'nosniff' }).end(body);
    };
    const probe = (trouble: string | undefined): void => answer(trouble ? 503 : 200, `${trouble ?? 'ok'}\n`);
    const [path = '/'] = (request.url ?? '/').split('?');
    if (options.route?.(request, response, path)) return;
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return answer(405, 'only GET is served here\n');
    if (path === '/healthz') return probe(options.unhealthy());
    if (path === '/readyz') return probe(options.unready());
    if (path !== '/metrics') return answer(404, 'there are /healthz, /readyz and /metrics\n');
    const scraped = (): void => {
      response.setHeader('content-type', options.metrics.contentType);
      response.setHeader('x-content-type-options', 'nosniff');
      // a client that disconnects, or gets an error halfway, has no page and retries
      pipeline(Readable.from(options.metrics.text()), response).catch(() => response.destroy());
    };
    if (!options.refusesMetrics) return scraped();
    options.refusesMetrics(request).then(
      (refused) => (refused ? answer(refused.status, `${refused.error}\n`) : scraped()),
      (error: unknown) => answer(503, `${(error as Error).message}\n`),
    );
  };
  const server = material
    ? createSecureServer({ ...LIMITS, ...material }, handle)
    : createServer(LIMITS, handle);
  server.maxConnections = MOST_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? `it is in use: choose another with ${flag}` : error.message;
      reject(new Error(`cannot listen on port ${options.port}: ${why}`, { cause: error }));
    });
    server.listen(options.port, options.host, resolve);
  });
  using stack = new DisposableStack();
  if (options.tls && material)
    stack.use(
      followTls(server as SecureServer, options.tls, material, (changed) => (certificate = derOf(changed))),
    );
  const following = stack.move();
  return {
    get certificate() {
      return certificate;
    },
    port: (server.address() as AddressInfo).port,
    hold: (alive) => void (alive ? server.ref() : server.unref()),
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        following.dispose();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
