/**
 * The one error that a call to the Kubernetes API ends in: which call on which object, and what the server said. Its message
 * is one line for a person and safe to log: it never holds headers, tokens or the objects themselves.
 */

/** What the server may say at length (a rejected object is explained field by field) is cut to this. */
const longestMessage = 600;

export interface KubeErrorDetails {
  /** `patch deployments/scale shop/tiles`. */
  call: string;
  /** HTTP status code; absent when the server did not answer. */
  status?: number;
  /**
   * CamelCase: the server's (`NotFound`, `Conflict`, `Invalid`, …) or, where it gave none, `Timeout`, `Unreachable`, `BadAnswer`,
   * `NoCredentials`.
   */
  reason: string;
  message: string;
  /** ms that the server asked to wait. */
  retryAfter?: number;
  cause?: unknown;
}

export class KubeError extends Error {
  override readonly name = 'KubeError';
  readonly status: number | undefined;
  readonly reason: string;
  /** ms that the server asked to wait before the next try. */
  readonly retryAfter: number | undefined;

  constructor({ call, status, reason, message, retryAfter, cause }: KubeErrorDetails) {
    const answer = status === undefined ? reason : `${status} ${reason}`;
    super(`${call}: ${answer}: ${oneLine(message)}`, cause === undefined ? undefined : { cause });
    this.status = status;
    this.reason = reason;
    this.retryAfter = retryAfter;
  }

  get notFound(): boolean {
    return this.status === 404;
  }

  /** Somebody else changed the object first, or owns the field; read again, then decide again. */
  get conflict(): boolean {
    return this.status === 409 && !this.alreadyExists;
  }

  /** The server has understood and will say so again: a name that cannot be one, a right that is missing, a field that may not be. */
  get refused(): boolean {
    return [400, 403, 405, 422].includes(this.status ?? 0);
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
  kind?: string;
  code?: number;
  reason?: string;
  message?: string;
}

/** The error for an answer that is not 2xx, from the body's `metav1.Status` or, lacking one, from the status code alone. */
export function answerError(call: string, status: number, body: string, retryAfter?: string): KubeError {
  const said = parseStatus(body);
  const seconds = Number(retryAfter);
  return new KubeError({
    call,
    status,
    reason: said.reason || reasonOf(status),
    message: said.message || 'the server gave no reason',
    ...(retryAfter !== undefined && Number.isFinite(seconds) && { retryAfter: seconds * 1000 }),
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
  return line.length > longestMessage ? `${line.slice(0, longestMessage)}…` : line;
}
