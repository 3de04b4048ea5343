/**
 * One POST over connections that are kept. Node's own `fetch` would do, but it gives up after five minutes without a
 * header, whatever a task may take, and its first request costs 30 MB and a third of a second; node:http 3 MB and 60 ms.
 *
 * A server may close a kept connection in the moment in which it is used again. A request that failed so, at once and before
 * a byte of an answer, is sent once more, on a new connection. One that fails later was at work, and is never sent again:
 * that is for the next attempt.
 */
import { Agent, request as requestPlain, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { Agent as TlsAgent, request as requestTls } from 'node:https';
import { tooLarge } from '../task/encode.ts';
import { HttpError, type HttpRefusal } from './http-answer.ts';

export interface Poster extends Disposable {
  /**
   * Resolves to the body of a 2xx, or to what else was answered. Rejects with `Unreached` when there was no connection,
   * with `ResultEncodingError` when the body of a 2xx is too large, else with what went wrong.
   */
  post(body: Buffer, headers: OutgoingHttpHeaders, signal: AbortSignal): Promise<Buffer | HttpRefusal>;
}

/** There was no connection: the server has seen nothing of the request. */
export class Unreached extends HttpError {}

/** A request that fails later than this may have been at work, ms. */
const STALE_MS = 100;
/** How a connection that was closed before it was used again fails. */
const CLOSED = new Set(['ECONNRESET', 'EPIPE']);
/** Of an answer that is no result, so much is kept, bytes; and so much is read before the connection is given up. */
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
        // what was answered speaks for itself
        if (answered) return;
        const atOnce = performance.now() - used < STALE_MS && CLOSED.has(error.code ?? '');
        const stale = asking.reusedSocket && atOnce && !signal.aborted;
        end(() =>
          stale ? resolve('stale') : reject(connected || signal.aborted ? error : unreached(error)),
        );
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
      // a new connection is no stale one
      if (second === 'stale') throw new HttpError('the connection was closed twice');
      return second;
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}

/** An `AggregateError` of all the addresses of a name has no message of its own. */
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
      if (size > MAX_REFUSAL_BYTES) break; // which ends the connection
    }
  } catch {
    // cut off: its status is enough
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
