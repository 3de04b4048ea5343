/**
 * Requests to the API server over node:https: JSON in and out, connections kept alive, every call bounded in time and
 * abortable, every failure a KubeError.
 *
 * Not the generated clients of @kubernetes/client-node 2. They build a new undici Agent for every call, hence a TLS handshake a call and
 * an agent that nobody closes, and know neither timeouts nor `Retry-After`. Measured with a loopback API server, 100 Deployments, 2
 * busy cores, bundled and minified: 11 ms a GET against 2.5 ms here; after two lists 93 MB resident and 260 ms since the start of the
 * process, and 157 MB after 300 GETs, against 66 MB and 125 ms here (of which 58 MB and 75 ms are Node and one bare request).
 *
 * Retried within the call's timeout: an answer of 429 or 503 with `Retry-After`, as in client-go; once after a 401, with fresh
 * credentials; once on a new connection when a kept one turned out to be closed (not for POST, which the server may have carried
 * out). Everything else is for the caller to retry.
 */
import http, { type Agent, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import { sleep, timeout } from '../runtime/timers.ts';
import type { Connection } from './connection.ts';
import { answerError, KubeError } from './errors.ts';
import { createPrecedence } from './precedence.ts';

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Record<string, string | number | boolean | undefined>;
  readonly body?: unknown;
  readonly contentType?: string;
  /**
   * Has connections of its own, and others do not begin meanwhile (precedence.ts), so that it waits behind none: a raise of replicas, a
   * renewal of the lease.
   */
  readonly urgent?: boolean;
  /** The token of another user, on whose behalf the call is made; our own credentials are then not sent. */
  readonly token?: string;
  /** For error messages: `patch deployments/scale shop/tiles`. */
  readonly what: string;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** ms for the whole call, retries included. */
  readonly timeoutMs?: number | undefined;
}

export interface Transport extends Disposable {
  /**
   * Rejects with `KubeError`, or with the signal's reason once that is aborted.
   */
  call<T>(call: Call, options?: CallOptions): Promise<T>;
  /** Lines of an endless response. Resolves when the response begins; `timeoutMs` covers only that. */
  stream(call: Call, options: CallOptions & { signal: AbortSignal }): Promise<AsyncIterable<string>>;
}

/** Below client-go's 32 s and above what a busy API server takes; a leader must see failures within its renew deadline. */
const DEFAULT_TIMEOUT_MS = 10_000;
/** The API server closes idle connections after 90 s: close first, so that a request rarely meets a closing one. */
const IDLE_TIMEOUT_MS = 30_000;
const MIN_RETRY_MS = 100;
/** At a time; as many again are urgent. */
const MOST_CALLS = 40;

export function createTransport(connection: Connection): Transport {
  const { protocol } = serverOf(connection);
  const kept = { keepAlive: true, keepAliveMsecs: 30_000, timeout: IDLE_TIMEOUT_MS };
  // Watches hold their connections for minutes, so they must not count against the limit for calls. Enough for the reconciles
  // that run at a time, so that a pool that was woken does not wait behind the requests of others.
  const calls = new protocol.Agent({ ...kept, maxSockets: MOST_CALLS });
  // the renewals of the lease keep one of them open
  const urgent = new protocol.Agent({ ...kept, maxSockets: MOST_CALLS });
  const streams = new protocol.Agent(kept);
  const precedence = createPrecedence();

  async function answerTo(call: Call, agent: Agent, deadline: number, signal: AbortSignal): Promise<string> {
    const response = await exchange(connection, call, { agent, deadline, signal });
    return text(response).catch((error: unknown) => {
      throw unreachable(call, error);
    });
  }

  /** The body of the answer. */
  async function exchangeInTurn(call: Call, deadline: number, signal: AbortSignal): Promise<string> {
    if (!call.urgent) {
      await precedence.turn();
      signal.throwIfAborted();
      return answerTo(call, calls, deadline, signal);
    }
    const ended = precedence.begin();
    try {
      return await answerTo(call, urgent, deadline, signal);
    } finally {
      ended();
    }
  }

  return {
    call: (call, options = {}) =>
      within(call, options, async (deadline, signal) => {
        const body = await exchangeInTurn(call, deadline, signal);
        try {
          return JSON.parse(body);
        } catch (error) {
          throw notJson(call, error);
        }
      }),
    async stream(call, options) {
      const response = await within(call, options, (deadline, signal) =>
        exchange(connection, call, { agent: streams, deadline, signal }),
      );
      return lines(call, response, options.signal);
    },
    [Symbol.dispose]() {
      calls.destroy();
      urgent.destroy();
      streams.destroy();
    },
  };
}

function serverOf(connection: Connection): {
  readonly server: URL;
  readonly protocol: typeof http | typeof https;
} {
  const server = new URL(connection.server);
  return { server, protocol: server.protocol === 'http:' ? http : https };
}

interface Exchange {
  readonly agent: Agent;
  /** By performance.now(). */
  readonly deadline: number;
  readonly signal: AbortSignal;
}

/** Resolves to an answer of 2xx. */
async function exchange(
  connection: Connection,
  call: Call,
  { agent, deadline, signal }: Exchange,
): Promise<IncomingMessage> {
  let credentialsRenewed = false;
  for (;;) {
    const response = await send(connection, call, agent, signal);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    const error = answerError(call.what, status, await text(response), response.headers['retry-after']);
    if (status === 401 && !credentialsRenewed && call.token === undefined) {
      credentialsRenewed = true;
      connection.forget();
      continue;
    }
    const wait = Math.max(MIN_RETRY_MS, error.retryAfterMs ?? Infinity);
    const retry = (status === 429 || status === 503) && performance.now() + wait < deadline;
    if (!retry) throw error;
    await sleep(wait, signal);
    signal.throwIfAborted();
  }
}

/** One request. Resolves when the response begins, whatever its status is. */
async function send(
  connection: Connection,
  call: Call,
  agent: Agent | false,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const {
    headers,
    agent: proxy,
    cert,
    key,
    passphrase,
    ...tls
  } = await connection.credentials().catch((cause: unknown) => {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new KubeError({ call: call.what, reason: 'NoCredentials', message, cause });
  });
  const { server, protocol } = serverOf(connection);
  const ours = call.token === undefined;
  const certificate = { ...(cert && { cert }), ...(key && { key }), ...(passphrase && { passphrase }) };
  const body = call.body === undefined ? undefined : JSON.stringify(call.body);
  const request = protocol.request(urlOf(server, call), {
    // The agent keeps connections apart by their TLS options, so a new CA takes effect with the next request.
    ...tls,
    ...(ours ? certificate : {}),
    agent: proxy ?? agent,
    method: call.method,
    signal,
    headers: {
      ...(ours ? headers : { authorization: `Bearer ${call.token}` }),
      accept: 'application/json',
      'user-agent': 'millrace',
      ...(body !== undefined && {
        'content-type': call.contentType ?? 'application/json',
        // Node would send a DELETE's body without a length, and the server would not read it.
        'content-length': Buffer.byteLength(body),
      }),
    },
  });
  const response = Promise.withResolvers<IncomingMessage>();
  request.once('response', response.resolve);
  request.once('error', response.reject);
  request.end(body);
  try {
    return await response.promise;
  } catch (error) {
    const stale = request.reusedSocket && !signal.aborted && call.method !== 'POST' && agent !== false;
    if (stale) return send(connection, call, false, signal);
    throw unreachable(call, error);
  }
}

function urlOf(server: URL, { path, query = {} }: Call): URL {
  const url = new URL(server.pathname.replace(/\/$/, '') + path, server);
  for (const [name, value] of Object.entries(query))
    if (value !== undefined) url.searchParams.set(name, String(value));
  return url;
}

/** Runs with a signal that the caller's signal and the timeout both abort; leaves neither timer nor listener behind. */
async function within<T>(
  call: Call,
  { signal, timeoutMs = DEFAULT_TIMEOUT_MS }: CallOptions,
  run: (deadline: number, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const controller = new AbortController();
  const forward = (): void => controller.abort(signal?.reason);
  const expire = (): void =>
    controller.abort(
      new KubeError({ call: call.what, reason: 'Timeout', message: `no answer within ${timeoutMs} ms` }),
    );
  const timer = timeout(timeoutMs, expire);
  signal?.addEventListener('abort', forward, { once: true });
  try {
    return await run(performance.now() + timeoutMs, controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    timer.clear();
    signal?.removeEventListener('abort', forward);
  }
}

async function* lines(call: Call, response: IncomingMessage, signal: AbortSignal): AsyncGenerator<string> {
  const destroy = (): void => void response.destroy();
  signal.addEventListener('abort', destroy, { once: true });
  try {
    signal.throwIfAborted();
    let rest = '';
    for await (const chunk of response.setEncoding('utf8')) {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop() ?? '';
      yield* parts;
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : unreachable(call, error);
  } finally {
    signal.removeEventListener('abort', destroy);
    response.destroy();
  }
}

function notJson(call: Call, cause: unknown): KubeError {
  // The parser's message would quote the body.
  const message = 'the answer is not JSON: is this the address of a Kubernetes API server?';
  return new KubeError({ call: call.what, reason: 'BadAnswer', message, cause });
}

function unreachable(call: Call, cause: unknown): KubeError {
  const { message = '', code = 'the connection failed' }: { message?: string; code?: string } =
    cause instanceof Error ? cause : {};
  // Node leaves the message empty when it tried several addresses.
  const why = message || code;
  return new KubeError({ call: call.what, reason: 'Unreachable', message: why, cause });
}
