/**
 * What a server's refusal is told by: the word in capitals that it begins with. The words behind it may be anything, and differ
 * from server to server. Seen in Redis 7.0.15; there is no list of codes
 * (https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors).
 */
import { ReplyError } from 'ioredis';

/** Whether a server answered with an error, instead of not at all. */
export function isReply(error: unknown): error is Error {
  return error instanceof (ReplyError as new (message: string) => Error);
}

/** `WRONGTYPE`, `NOPERM`, `ERR` …; `undefined` for what is no answer of a server, or has none. */
export function replyCode(error: unknown): string | undefined {
  return isReply(error) ? codeIn(error.message) : undefined;
}

/** Redis 6 puts what a command in a script was told at the end of a longer text: `ERR Error running script (…): …: -READONLY …`. */
export function codeIn(text: string): string | undefined {
  return /^(?:ERR Error running script.*?-)?([A-Z]+)\b/.exec(text)?.[1];
}
