/**
 * The form of a task as an HTTP request, and the meaning of a response. Pure; times are arguments.
 *
 * | status | meaning |
 * | --- | --- |
 * | 2xx | the body is the result |
 * | 408, 409, 425, 429, 5xx | temporary: retried, after `Retry-After` if present |
 * | any other 4xx | the task cannot succeed: a dead letter immediately |
 * | anything else | the attempt failed (redirects are not followed) |
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { LONGEST_MS } from '../../runtime/duration.ts';
import type { TaskContext } from '../task/handler.ts';

/** A server failed one attempt, or could not be reached. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
}

/** The server ruled out further attempts. */
export class FinalHttpError extends HttpError {
  readonly retry = false;
}

/** The server set when the task is to be retried. */
export class LaterHttpError extends HttpError {
  /** ms. */
  readonly retryAfter: number;
  constructor(message: string, retryAfter: number) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

/** A response other than 2xx. */
export interface HttpRefusal {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The start of its body. */
  readonly body: Buffer;
}

/** Client errors that are temporary, not the task's fault: timeout, conflict, too early, too many. */
const NOT_NOW = new Set([408, 409, 425, 429]);
/** Servers limit their headers, most of them to 8 or 16 KB in all. */
const MAX_HEADER_BYTES = 4096;

/**
 * The headers of a task. In an id or a queue, everything but visible ASCII, and `%`, is percent-encoded; one that is longer than
 * 4 KB encoded is left out.
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

/** `where`: the request, for the message. `now`: ms since the epoch, for a `Retry-After` that is a date. */
export function httpErrorOf({ status, headers, body }: HttpRefusal, where: string, now: number): HttpError {
  const text = body.toString().trim();
  const message = `${where} answered ${status}${text === '' ? ', without a body' : `: ${text}`}`;
  const notNow = NOT_NOW.has(status) || status >= 500;
  if (status >= 400 && !notNow) return new FinalHttpError(message);
  const delay = notNow ? retryAfterMs(headers['retry-after'], now) : undefined;
  return delay === undefined ? new HttpError(message) : new LaterHttpError(message, delay);
}

/** RFC 9110, 10.2.3: seconds, or a date. `undefined` for anything else. */
function retryAfterMs(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text.trim())) return Math.min(LONGEST_MS, Number(text) * 1_000);
  // V8 parses almost anything as a date; an HTTP date begins with the day of the week
  const at = /^[A-Z][a-z]{2,8},? /.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
