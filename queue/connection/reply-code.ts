/**
 * The code of an error reply: the word in capitals that it begins with. The text behind it may be anything, and differs from
 * server to server. Seen in Redis 7.0.15; there is no list of codes
 * (https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors).
 */
import { ReplyError } from 'ioredis';

/** Whether the server replied with an error, as opposed to not at all. */
export function isReply(error: unknown): error is Error {
  return error instanceof (ReplyError as new (message: string) => Error);
}

/** `WRONGTYPE`, `NOPERM`, `ERR` …; `undefined` for anything but an error reply with a code. */
export function replyCode(error: unknown): string | undefined {
  return isReply(error) ? codeIn(error.message) : undefined;
}

/** Redis 6 appends the error of a command in a script to a longer text: `ERR Error running script (…): …: -READONLY …`. */
export function codeIn(text: string): string | undefined {
  return /^(?:ERR Error running script.*?-)?([A-Z]+)\b/.exec(text)?.[1];
}
