/**
 * A handler from an HTTP server, such as a second container of the pod: each task is a POST, the answer is the result
 * (`http-answer.ts` defines what each status means).
 *
 * The worker takes nothing before the server listens. While it does not listen later on, a request that has not reached it
 * is retried for some seconds before the attempt fails: a server that restarts must not use up the attempts of all tasks in
 * the queue.
 *
 * Guarantees: an aborted attempt ends its request immediately and never yields a result. Nothing but the abort ends a
 * request, unless a timeout was given.
 */
import { connect } from 'node:net';
import { formatDuration } from '../../runtime/duration.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import { sleep, timeout } from '../../runtime/timers.ts';
import { MAX_RESULT_BYTES, ResultEncodingError } from '../task/encode.ts';
import { describeError } from '../../runtime/describe-error.ts';
import type { OpenHandler, TaskContext } from '../task/handler.ts';
import { trackAttempts } from './attempts.ts';
import { HandlerLoadError } from './errors.ts';
import { httpErrorOf, HttpError, taskHeaders } from './http-answer.ts';
import { createPoster, Unreached, unreached } from './http-post.ts';

/** Receives a line for people, and its fields for programs. */
export type LogReachability = (line: string, about?: Reachability) => void;

interface Reachability {
  readonly event: typeof LogEvent.HandlerReachable | typeof LogEvent.HandlerUnreachable;
  readonly url: string;
  readonly reason?: string;
}

export interface HttpHandlerOptions {
  readonly url: string;
  /** For one attempt, ms; none by default. */
  readonly timeoutMs?: number | undefined;
  /** The largest result, bytes; Redis's own limit by default. */
  readonly maxOutputBytes?: number;
  /** Receives a line when the server cannot be reached, and one when it can be again. */
  readonly log: LogReachability;
  /** Ends the wait for the server to listen. */
  readonly stopping: AbortSignal;
  /** How long an attempt tries to reach a server that is gone, ms; 10 s by default. */
  readonly reachTimeoutMs?: number;
}

const REACH_TIMEOUT_MS = 10_000;
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 1_000;
const CONNECT_TIMEOUT_MS = 2_000;

/**
 * Opens a server as a handler: resolves when it listens, or when `stopping` has aborted.
 *
 * Throws `HandlerLoadError` when the URL cannot be read or has another scheme.
 */
export async function openHttp(options: HttpHandlerOptions): Promise<OpenHandler> {
  const { timeoutMs, log, stopping, reachTimeoutMs = REACH_TIMEOUT_MS } = options;
  const url = readUrl(options.url);
  const warning = warnOfPlaintext(url);
  if (warning) log(warning);
  // without user, password and query, which may hold a secret
  const where = `${url.origin}${url.pathname}`;
  const poster = createPoster(url, options.maxOutputBytes ?? MAX_RESULT_BYTES);
  const closing = new AbortController();
  let troubled = false;

  const ask = async (context: TaskContext, task: unknown): Promise<Buffer> => {
    const over = new AbortController();
    const late = `POST ${where}: no whole answer within ${formatDuration(timeoutMs ?? 0)}`;
    const timer = timeoutMs ? timeout(timeoutMs, () => over.abort(new HttpError(late))) : undefined;
    const stop = (): void =>
      over.abort(stopped(context.signal.aborted ? context.signal.reason : closing.signal.reason));
    const ends = [context.signal, closing.signal];
    for (const signal of ends)
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop);
    try {
      const headers = taskHeaders(task, context);
      const answer = await reaching(() => poster.post(context.raw, headers, over.signal), over.signal);
      if (Buffer.isBuffer(answer)) return answer;
      throw httpErrorOf(answer, `POST ${where}`, Date.now());
    } catch (error) {
      if (over.signal.aborted) throw over.signal.reason;
      if (error instanceof ResultEncodingError) throw error;
      if (error instanceof HttpError && !(error instanceof Unreached)) throw error;
      throw new HttpError(`POST ${where} failed: ${describeError(error)}`, { cause: error });
    } finally {
      timer?.clear();
      for (const signal of ends) signal.removeEventListener('abort', stop);
    }
  };

  /** Retries while the server cannot be reached. */
  async function reaching<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const deadline = performance.now() + reachTimeoutMs;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
      try {
        const value = await attempt();
        if (troubled) log(`${where} answers again`, { event: LogEvent.HandlerReachable, url: where });
        troubled = false;
        return value;
      } catch (error) {
        if (!(error instanceof Unreached)) throw error;
        if (!troubled)
          log(`${where} cannot be reached; tasks wait: ${error.message}`, unreachable(where, error.message));
        troubled = true;
        if (performance.now() + pause > deadline) throw error;
        await sleep(pause, signal);
        signal.throwIfAborted();
      }
    }
  }

  const { handle, settled } = trackAttempts(ask);
  await untilListening(url, where, log, stopping);
  return {
    handle,
    bytesOnly: true,
    async [Symbol.asyncDispose]() {
      closing.abort(new HttpError('the handler is closed'));
      await settled();
      poster[Symbol.dispose]();
    },
  };
}

function readUrl(text: string): URL {
  const url = URL.parse(text);
  // with an @ in it, the text may contain a password, even where it cannot be parsed
  const shown = text.includes('@') ? '' : ` ${text}`;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new HandlerLoadError(`--http${shown} is not an HTTP URL: write http://127.0.0.1:9000/run`);
  if (url.username === '' && /@/.test(url.search + url.hash))
    throw new HandlerLoadError(
      '--http has an @ behind its host: percent-encode the characters / # ? of a password as %2F %23 %3F',
    );
  return url;
}

/** Without TLS, basic authentication is sent in clear text. */
function warnOfPlaintext({ protocol, username, password, hostname }: URL): string | undefined {
  const loopback = hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
  if (protocol !== 'http:' || loopback || username + password === '') return undefined;
  return `the user name and password of --http are sent to ${hostname} without encryption: use https://`;
}

function stopped(reason: unknown): HttpError {
  return new HttpError(`stopped: ${describeError(reason)}`, { cause: reason });
}

async function untilListening(
  url: URL,
  where: string,
  log: LogReachability,
  stopping: AbortSignal,
): Promise<void> {
  let reported: string | undefined;
  for (let pause = FIRST_PAUSE_MS; !stopping.aborted; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
    const trouble = await tryConnect(url);
    if (trouble === undefined) {
      if (reported !== undefined)
        log(`${where} listens; taking tasks`, { event: LogEvent.HandlerReachable, url: where });
      return;
    }
    if (trouble !== reported)
      log(`waiting for ${where} to listen before taking tasks: ${trouble}`, unreachable(where, trouble));
    reported = trouble;
    await sleep(pause, stopping);
  }
}

const unreachable = (url: string, reason: string): Reachability => ({
  event: LogEvent.HandlerUnreachable,
  url,
  reason,
});

/** Why there is no connection; `undefined` when there is one. */
function tryConnect(url: URL): Promise<string | undefined> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: CONNECT_TIMEOUT_MS });
    const end = (trouble: string | undefined): void => {
      socket.destroy();
      resolve(trouble);
    };
    socket.once('connect', () => end(undefined));
    socket.once('timeout', () => end(`no connection within ${CONNECT_TIMEOUT_MS} ms`));
    socket.once('error', (error) => end(unreached(error).message));
  });
}
