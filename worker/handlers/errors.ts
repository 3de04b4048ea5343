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

/** What the program says of a failed attempt. */
export interface ReportedError {
  /** Of the error, if it has one of its own. */
  readonly name?: string | undefined;
  readonly message: string;
  readonly final: boolean;
  /** Delay until the next attempt, ms, if there is one. */
  readonly retryAfter: number | undefined;
}

export function errorOf({ message, name, final, retryAfter }: ReportedError): CommandError {
  if (final) return new FinalCommandError(message, { name });
  if (retryAfter !== undefined) return new LaterCommandError(message, retryAfter, { name });
  return new CommandError(message, { name });
}
