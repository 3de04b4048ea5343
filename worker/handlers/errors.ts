/** The two ways in which a handler fails: it cannot be opened at all, or its program failed an attempt. */

/** A handler that cannot be opened. The message is one line for the person who configured it. */
export class HandlerLoadError extends Error {
  override readonly name = 'HandlerLoadError';
}

/** A program failed one attempt; the message holds the end of its stderr. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

/** A program said when the task is to be tried again. */
export class LaterCommandError extends CommandError {
  /** ms. */
  readonly retryAfter: number;
  constructor(message: string, retryAfter: number) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

/** A program said that the task must not be tried again. */
export class FinalCommandError extends CommandError {
  readonly retry = false;
}
