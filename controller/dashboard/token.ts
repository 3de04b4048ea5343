/** Tokens in requests, and the one in a file that allows actions. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';

/** Returns the current token. */
export type TokenSource = () => Promise<string>;

const TOKEN_HEADER = 'x-millrace-token';
/** Shorter ones can be guessed. */
const SHORTEST = 16;

/**
 * The token in a file, which is read each time: a Secret that changes is another file. Rejects immediately, and with what to do,
 * if it holds none.
 */
export async function tokenFile(path: string): Promise<TokenSource> {
  const read: TokenSource = async () => {
    const token = (await readFile(path, 'utf8')).trim();
    if (token.length < SHORTEST)
      throw new Error(`the token in ${path} has ${token.length} characters: give at least ${SHORTEST}`);
    return token;
  };
  await read().catch((error: unknown) => {
    throw new Error(`cannot read the dashboard token: ${(error as Error).message}`, { cause: error });
  });
  return read;
}

/**
 * The token of a request: in `authorization`, or in a header of our own, because the API server's proxy
 * (`kubectl proxy`) consumes the former and does not forward it.
 */
export function shownToken({ headers }: Pick<IncomingMessage, 'headers'>): string | undefined {
  const own = headers[TOKEN_HEADER];
  const [, bearer] = /^Bearer (.+)$/i.exec(headers.authorization ?? '') ?? [];
  return typeof own === 'string' && own !== '' ? own : bearer;
}

/** Compares in constant time. */
export function isToken(shown: string | undefined, token: string): boolean {
  return shown !== undefined && timingSafeEqual(digest(shown), digest(token));
}

/** Of one length, whatever goes in. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
