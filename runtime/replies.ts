/** Short HTTP responses and request bodies. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { encodingFor } from './static-files.ts';

/** Below this, compressing costs more than it saves, bytes. */
const WORTH_IT = 1_024;

/** Responds with JSON that must not be cached, compressed if it is long. */
export async function sendJson(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  value: unknown,
): Promise<void> {
  const text = JSON.stringify(value);
  const zip = text.length > WORTH_IT && encodingFor(request.headers['accept-encoding']) !== 'identity';
  const body = zip ? await promisify(gzip)(text, { level: 4 }) : Buffer.from(text);
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(zip ? { 'content-encoding': 'gzip', vary: 'accept-encoding' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** The JSON of a request's body; `undefined` if it is not JSON or is longer than `most` bytes. */
export async function readJson(request: IncomingMessage, most: number): Promise<unknown> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > most) return undefined;
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString()) as unknown;
  } catch {
    return undefined;
  }
}
