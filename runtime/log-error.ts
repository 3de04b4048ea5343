/**
 * An error as it is logged: type, message and causes, and its stack at level `debug`. Never its other properties, in which
 * libraries keep their context: a URL with its password, the arguments of a command. Pure.
 */
import { plainText } from './plain-text.ts';

export interface LoggedError {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  /** The frames alone: the message at the head of a stack is cut and cleaned as `message`. */
  readonly stack?: string;
  readonly cause?: LoggedError;
}

const LONGEST_MESSAGE = 1_000;
const LONGEST_STACK = 8_000;
const MOST_CAUSES = 4;
/** Redis quotes the first arguments of a command, which may be a password. */
const ARGUMENTS = /,? with args beginning with[\s\S]*/;
/** V8's form, https://v8.dev/docs/stack-trace-api. */
const FRAME = /^ {4}at .+$/;

/** Returns a value of any kind as an error; never throws, whatever a handler has thrown. */
export function loggedError(error: unknown, withStack: boolean, depth = 0): LoggedError {
  try {
    return read(error, withStack, depth);
  } catch {
    return { type: 'Error', message: 'an error that cannot be read (it throws when it is read)' };
  }
}

function read(error: unknown, withStack: boolean, depth: number): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, message: cleaned(String(error)) };
  const { name, message, stack, cause } = error;
  const { code } = error as { code?: unknown };
  const more = cause !== undefined && cause !== null && depth < MOST_CAUSES;
  // of a connection that tried several addresses, the error of the first says enough
  const [first]: unknown[] = error instanceof AggregateError && message === '' ? error.errors : [];
  const text =
    message || (first instanceof Error ? first.message : '') || (typeof code === 'string' ? code : name);
  return {
    type: plainText(name, 100),
    message: cleaned(text),
    ...(typeof code === 'string' && { code: plainText(code, 100) }),
    ...(withStack && typeof stack === 'string' && { stack: framesOf(stack, message) }),
    ...(more && { cause: loggedError(cause, withStack, depth + 1) }),
  };
}

function cleaned(text: string): string {
  return plainText(text.replace(ARGUMENTS, ''), LONGEST_MESSAGE);
}

/** The lines after the message. A message that has changed since, or that contains lines like frames, loses its stack. */
function framesOf(stack: string, message: string): string {
  const at = stack.indexOf(message);
  const behind = at === -1 ? '' : stack.slice(at + message.length);
  return behind
    .slice(0, LONGEST_STACK)
    .split('\n')
    .filter((line) => FRAME.test(line))
    .map((line) => plainText(line, LONGEST_MESSAGE))
    .join('\n');
}
