/**
 * The small HTTP server that every process has: `/healthz` (alive), `/readyz` (able to do its work) and `/metrics`.
 * A probe that fails answers 503 with the reason in words.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { MetricsSource } from './metrics.ts';

export interface HttpOptions {
  readonly port: number;
  readonly host?: string;
  readonly metrics: MetricsSource;
  /** Why the process should be restarted, or `undefined` when it is well. */
  readonly unhealthy: () => string | undefined;
  /** Why it cannot do its work right now, or `undefined` when it can. */
  readonly unready: () => string | undefined;
  /** What else is served. */
  readonly route?: Route | undefined;
}

/** Answers a request, at once or later, or returns `false` and leaves it to others. `path` is without the query. */
export type Route = (request: IncomingMessage, response: ServerResponse, path: string) => boolean;

export interface HttpServer extends AsyncDisposable {
  readonly port: number;
  /** Whether the server alone keeps the process alive; it does at first. */
  hold(alive: boolean): void;
}

/** Listens until it is disposed. Rejects when the port cannot be had. */
export async function serveHttp(options: HttpOptions): Promise<HttpServer> {
  const server = createServer((request, response) => {
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
    response.setHeader('content-type', options.metrics.contentType);
    response.setHeader('x-content-type-options', 'nosniff');
    // whoever breaks off, or meets an error in the middle, has no page, and asks again
    pipeline(Readable.from(options.metrics.text()), response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE' ? 'it is in use: choose another with --http-port' : error.message;
      reject(new Error(`cannot listen on port ${options.port}: ${why}`, { cause: error }));
    });
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    hold: (alive) => void (alive ? server.ref() : server.unref()),
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
