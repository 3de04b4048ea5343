/**
 * The one error of a failed call to the Kubernetes API: which call, on which object, and the server's reason. Its message is one
 * line for a person and safe to log: it never contains headers, tokens or the objects themselves.
 */

/** Longer messages of the server are cut: it explains a rejected object field by field. */
const MAX_MESSAGE_LENGTH = 600;

export interface KubeErrorDetails {
  /** `patch deployments/scale shop/tiles`. */
  readonly call: string;
  /** HTTP status code; absent when the server did not answer. */
  readonly status?: number;
  /**
   * CamelCase: the server's (`NotFound`, `Conflict`, `Invalid`, …) or, where it gave none, `Timeout`, `Unreachable`, `BadAnswer`,
   * `NoCredentials`.
   */
  readonly reason: string;
  readonly message: string;
  /** ms to wait, as the server asked. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

export class KubeError extends Error {
  override readonly name = 'KubeError';
  readonly status: number | undefined;
  readonly reason: string;
  /** ms to wait before the next attempt, as the server asked. */
  readonly retryAfterMs: number | undefined;

  constructor({ call, status, reason, message, retryAfterMs, cause }: KubeErrorDetails) {
    const answer = status === undefined ? reason : `${status} ${reason}`;
    super(`${call}: ${answer}: ${oneLine(message)}`, cause === undefined ? undefined : { cause });
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }

  get notFound(): boolean {
    return this.status === 404;
  }

  /** Another client changed the object first, or owns the field: read again, then decide again. */
  get conflict(): boolean {
    return this.status === 409 && !this.alreadyExists;
  }

  /** The server understood the request and would refuse it again: an invalid name, a missing permission, a forbidden field. */
  get refused(): boolean {
    return [400, 403, 405, 422].includes(this.status ?? 0);
  }

  /**
   * The server failed at the request: for a moment, or each time, as where a template has a field that no pod has, or an admission
   * webhook cannot be reached.
   */
  get internal(): boolean {
    return this.status === 500;
  }

  get alreadyExists(): boolean {
    return this.reason === 'AlreadyExists';
  }

  /** The resource version is too old for the server's history: list again. */
  get expired(): boolean {
    return this.status === 410 || this.reason === 'Expired' || this.reason === 'Gone';
  }
}

/** `metav1.Status`, as far as we read it. */
interface Status {
  readonly kind?: string;
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
}

/** The error for an answer that is not 2xx, from the body's `metav1.Status` or, lacking one, from the status code alone. */
export function answerError(call: string, status: number, body: string, retryAfter?: string): KubeError {
  const answer = parseStatus(body);
  const seconds = Number(retryAfter);
  return new KubeError({
    call,
    status,
    reason: answer.reason || reasonOf(status),
    message: answer.message || 'the server gave no reason',
    ...(retryAfter !== undefined && Number.isFinite(seconds) && { retryAfterMs: seconds * 1000 }),
  });
}

/** The error for an `ERROR` event in a watch, which is a `metav1.Status` too. */
export function watchError(call: string, status: unknown): KubeError {
  const { code, reason, message } = (status ?? {}) as Status;
  return new KubeError({
    call,
    ...(code !== undefined && { status: code }),
    reason: reason || reasonOf(code ?? 500),
    message: message || 'the watch ended with an error',
  });
}

function parseStatus(body: string): Status {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null && (value as Status).kind === 'Status' ? value : {};
  } catch {
    // A proxy's HTML page, say: the status code has to be enough.
    return {};
  }
}

function reasonOf(status: number): string {
  switch (status) {
    case 401:
      return 'Unauthorized';
    case 403:
      return 'Forbidden';
    case 404:
      return 'NotFound';
    case 409:
      return 'Conflict';
    case 410:
      return 'Gone';
    case 429:
      return 'TooManyRequests';
    case 503:
      return 'ServiceUnavailable';
    default:
      return status >= 500 ? 'InternalError' : 'BadRequest';
  }
}

function oneLine(message: string): string {
  const line = message.replaceAll(/\s+/g, ' ').trim();
  return line.length > MAX_MESSAGE_LENGTH ? `${line.slice(0, MAX_MESSAGE_LENGTH)}…` : line;
}
