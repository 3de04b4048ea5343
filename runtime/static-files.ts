/**
 * Serves a handful of files from memory: each with an ETag, so that a browser that has it is told so, and compressed, once.
 * A browser asks each time whether its copy is still right, as the names stay the same from version to version.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

/** Name → contents. */
export type Files = ReadonlyMap<string, Buffer>;

export interface StaticFiles {
  /** Responds with the file and `headers`, or with 404. */
  serve(
    request: IncomingMessage,
    response: ServerResponse,
    name: string,
    headers?: Readonly<Record<string, string>>,
  ): Promise<void>;
}

interface Prepared {
  readonly etag: string;
  readonly type: string;
  readonly bodies: Readonly<Record<'br' | 'gzip' | 'identity', Buffer>>;
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};

/** `load` is called once, at the first request. */
export function createStaticFiles(load: () => Promise<Files>): StaticFiles {
  let loading: Promise<Files> | undefined;
  const prepared = new Map<string, Promise<Prepared>>();

  async function find(name: string): Promise<Prepared | undefined> {
    loading ??= load();
    let files: Files;
    try {
      files = await loading;
    } catch (error) {
      loading = undefined;
      throw error;
    }
    const contents = files.get(name);
    if (!contents) return undefined;
    const found = prepared.get(name) ?? prepare(name, contents);
    prepared.set(name, found);
    return found;
  }

  return {
    serve: async (request, response, name, headers = {}) => {
      const file = await find(name);
      if (!file) {
        response.writeHead(404, { ...headers, 'content-type': 'text/plain; charset=utf-8' });
        response.end(`there is no ${name} here\n`);
        return;
      }
      const common = { ...headers, etag: file.etag, 'cache-control': 'no-cache', vary: 'accept-encoding' };
      const known = request.headers['if-none-match']?.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
      if (known?.includes(file.etag)) {
        response.writeHead(304, common).end();
        return;
      }
      const encoding = encodingFor(request.headers['accept-encoding']);
      const body = file.bodies[encoding];
      response.writeHead(200, {
        ...common,
        'content-type': file.type,
        'content-length': body.length,
        ...(encoding === 'identity' ? {} : { 'content-encoding': encoding }),
      });
      response.end(request.method === 'HEAD' ? undefined : body);
    },
  };
}

async function prepare(name: string, identity: Buffer): Promise<Prepared> {
  const [br, zipped] = await Promise.all([
    promisify(brotliCompress)(identity, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }),
    promisify(gzip)(identity),
  ]);
  const etag = `"${createHash('sha256').update(identity).digest('base64url').slice(0, 22)}"`;
  const type = TYPES[name.split('.').at(-1) ?? ''] ?? 'application/octet-stream';
  return { etag, type, bodies: { br, gzip: zipped, identity } };
}

/** The best encoding that the client accepts. */
export function encodingFor(accepted: string | undefined): 'br' | 'gzip' | 'identity' {
  const names = new Set(
    (accepted ?? '')
      .split(',')
      .filter((part) => !/;\s*q=0(\.0*)?\s*$/.test(part))
      .map((part) => (part.split(';')[0] ?? '').trim().toLowerCase()),
  );
  if (names.has('br')) return 'br';
  return names.has('gzip') ? 'gzip' : 'identity';
}
