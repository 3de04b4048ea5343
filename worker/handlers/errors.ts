/** Errors of handlers: one cannot be opened, or its program failed an attempt. */

/** A handler that cannot be opened. The message is one line for the person who configured it. */
export class HandlerLoadError extends Error {
  override readonly name = 'HandlerLoadError';
}

/** A program failed one attempt; the message holds the end of its stderr. */
export class CommandError extends Error {
  override readonly name: string;
  /** `name`: of the error, if the program gave it one. */
  constructor(
    message: string,
    { name = 'CommandError', ...options }: ErrorOptions & { readonly name?: string | undefined } = {},
  ) {
    super(message, options);
    this.name = name;
  }
}

/** The program set when the task is to be retried. */
export class LaterCommandError extends CommandError {
  /** ms. */
  readonly retryAfter: number;
  constructor(message: string, retryAfter: number, options?: { readonly name?: string | undefined }) {
    super(message, options);
    this.retryAfter = retryAfter;
  }
}

/** The program ruled out further attempts. */
export class FinalCommandError extends CommandError {
  readonly retry = false;
}
