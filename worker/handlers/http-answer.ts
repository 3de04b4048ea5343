/**
 * What a task is as an HTTP request, and what an answer says about it. Pure but for the time, which is an argument.
 *
 * | status | meaning |
 * | --- | --- |
 * | 2xx | the body is the result |
 * | 408, 409, 425, 429, 5xx | not now: tried again, after `Retry-After` where there is one |
 * | any other 4xx | the task can never work: a dead letter at once |
 * | anything else | the attempt failed (redirects are not followed) |
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { LONGEST_MS } from '../../runtime/duration.ts';
import type { TaskContext } from '../task/handler.ts';

/** A server failed one attempt, or could not be asked. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
}

/** A server said that the task must not be tried again. */
export class FinalHttpError extends HttpError {
  readonly retry = false;
}

/** A server said when the task is to be tried again. */
export class LaterHttpError extends HttpError {
  /** ms. */
  readonly retryAfter: number;
  constructor(message: string, retryAfter: number) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

/** An answer that is no success. */
export interface HttpRefusal {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The start of its body. */
  readonly body: Buffer;
}

/** Client errors that speak of the moment and not of the task: timeout, conflict, too early, too many. */
const NOT_NOW = new Set([408, 409, 425, 429]);
/** Servers limit their headers, most of them to 8 or 16 KB in all. */
const MAX_HEADER_BYTES = 4096;

/**
 * The headers of a task. In an id or a queue, what is not visible ASCII, and `%`, is percent-encoded; one that is longer
 * than 4 KB then is left out.
 */
export function taskHeaders(task: unknown, { id, attempt, queue, trace }: TaskContext): OutgoingHttpHeaders {
  const isJson = typeof task === 'object' && task !== null && !Buffer.isBuffer(task);
  return {
    'content-type': isJson ? 'application/json' : 'application/octet-stream',
    ...header('millrace-task-id', id),
    'millrace-attempt': String(attempt),
    ...header('millrace-queue', queue),
    ...(trace && { traceparent: trace.traceparent }),
    ...(trace?.tracestate && { tracestate: trace.tracestate }),
  };
}

function header(name: string, text: string | Buffer): OutgoingHttpHeaders {
  const value = Buffer.from(text)
    .toString('latin1')
    .replaceAll(/[^!-$&-~]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`);
  return value.length > MAX_HEADER_BYTES ? {} : { [name]: value };
}

/** `where`: what was asked, for the message. `now`: ms since the epoch, for a `Retry-After` that is a date. */
export function errorOf({ status, headers, body }: HttpRefusal, where: string, now: number): HttpError {
  const said = body.toString().trim();
  const message = `${where} answered ${status}${said === '' ? ', without a body' : `: ${said}`}`;
  const notNow = NOT_NOW.has(status) || status >= 500;
  if (status >= 400 && !notNow) return new FinalHttpError(message);
  const delay = notNow ? retryAfterMs(headers['retry-after'], now) : undefined;
  return delay === undefined ? new HttpError(message) : new LaterHttpError(message, delay);
}

/** RFC 9110, 10.2.3: seconds, or a date. `undefined` for anything else. */
function retryAfterMs(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text.trim())) return Math.min(LONGEST_MS, Number(text) * 1_000);
  // V8 reads dates into almost anything; one of HTTP begins with the day of the week
  const at = /^[A-Z][a-z]{2,8},? /.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
