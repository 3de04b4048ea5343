/**
 * Sends a POST over keep-alive connections. Node's `fetch` gives up after five minutes without a response header, which is too
 * short for some tasks, and its first request costs 30 MB and a third of a second; node:http 3 MB and 60 ms.
 *
 * A server may close a kept connection at the moment it is reused. A request that fails immediately on a reused connection,
 * without a byte of a response, is sent once more on a new one. A request that fails later may have been processed and is never
 * resent: that is left to the next attempt.
 */
import { Agent, request as requestPlain, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { Agent as TlsAgent, request as requestTls } from 'node:https';
import { tooLarge } from '../task/encode.ts';
import { HttpError, type HttpRefusal } from './http-answer.ts';

export interface Poster extends Disposable {
  /**
   * Resolves to the body of a 2xx response, or to any other response. Rejects with `Unreached` when there was no connection, with
   * `ResultEncodingError` when the body of a 2xx is too large, otherwise with the error of the request.
   */
  post(body: Buffer, headers: OutgoingHttpHeaders, signal: AbortSignal): Promise<Buffer | HttpRefusal>;
}

/** There was no connection: the server has received nothing of the request. */
export class Unreached extends HttpError {}

/** A request that fails later than this may have been processed, ms. */
const STALE_MS = 100;
/** Error codes of a request on a connection that the server had closed. */
const CLOSED = new Set(['ECONNRESET', 'EPIPE']);
/** Of a response other than 2xx, bytes that are kept, and bytes that are read before the connection is abandoned. */
const EXCERPT_BYTES = 1024;
const MAX_REFUSAL_BYTES = 1 << 16;

/** `maxBytes`: the largest result. */
export function createPoster(url: URL, maxBytes: number): Poster {
  const tls = url.protocol === 'https:';
  const agent = tls ? new TlsAgent({ keepAlive: true }) : new Agent({ keepAlive: true });
  const request = tls ? requestTls : requestPlain;

  function once(
    body: Buffer,
    headers: OutgoingHttpHeaders,
    signal: AbortSignal,
    by: Agent | false,
  ): Promise<Buffer | HttpRefusal | 'stale'> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      let answered = false;
      let connected = false;
      let used = performance.now();
      const asking = request(url, { method: 'POST', agent: by, headers });
      const abort = (): void => void asking.destroy(signal.reason as Error);
      const end = (settle: () => void): void => {
        signal.removeEventListener('abort', abort);
        settle();
      };
      asking.on('socket', (socket) => {
        used = performance.now();
        connected = !socket.connecting;
        if (!connected) socket.once(tls ? 'secureConnect' : 'connect', () => (connected = true));
      });
      asking.on('response', (response) => {
        answered = true;
        read(response, maxBytes).then(
          (answer) => end(() => resolve(answer)),
          (error: unknown) => end(() => reject(error)),
        );
      });
      asking.on('error', (error: Error & { code?: string }) => {
        // the response has settled it
        if (answered) return;
        const early = performance.now() - used < STALE_MS && CLOSED.has(error.code ?? '');
        const stale = asking.reusedSocket && early && !signal.aborted;
        end(() =>
          stale ? resolve('stale') : reject(connected || signal.aborted ? error : unreached(error)),
        );
      });
      // Node reports nothing but this where it ends a connection itself, as after a switch of protocols
      asking.on('close', () => {
        if (!answered) end(() => reject(new Error('the connection was closed without a response')));
      });
      asking.on('upgrade', (_, socket) => {
        socket.destroy();
        end(() => reject(new Error('the server switched protocols (status 101)')));
      });
      signal.addEventListener('abort', abort, { once: true });
      asking.end(body);
    });
  }

  return {
    async post(body, headers, signal) {
      const answer = await once(body, headers, signal, agent);
      if (answer !== 'stale') return answer;
      const second = await once(body, headers, signal, false);
      // cannot be: a new connection is never stale
      if (second === 'stale') throw new HttpError('the connection was closed twice');
      return second;
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}

/** The `AggregateError` for all addresses of a name has no message of its own. */
export function unreached(error: Error & { code?: string }): Unreached {
  return new Unreached(error.message || (error.code ?? error.name), { cause: error });
}

async function read(response: IncomingMessage, maxBytes: number): Promise<Buffer | HttpRefusal> {
  const { statusCode: status = 0, headers } = response;
  if (status >= 200 && status < 300) return readResult(response, maxBytes);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (size < EXCERPT_BYTES) chunks.push(chunk);
      size += chunk.length;
      if (size > MAX_REFUSAL_BYTES) break; // closes the connection
    }
  } catch {
    // truncated: the status suffices
  }
  return { status, headers, body: Buffer.concat(chunks).subarray(0, EXCERPT_BYTES) };
}

async function readResult(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge(`the server answered with more than ${maxBytes} bytes`, maxBytes);
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, size);
}
