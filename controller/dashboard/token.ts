/** Who may act: whoever shows the token. Without one, nobody. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/** The token as it is now. */
export type TokenSource = () => Promise<string>;

/** Shorter ones can be guessed. */
const SHORTEST = 16;

/**
 * The token in a file, which is read each time: a Secret that changes is another file. Rejects now, and not later, with what to
 * do when there is none in it.
 */
export async function tokenFile(path: string): Promise<TokenSource> {
  const read: TokenSource = async () => {
    const token = (await readFile(path, 'utf8')).trim();
    if (token.length < SHORTEST)
      throw new Error(`the token in ${path} has ${token.length} characters: give at least ${SHORTEST}`);
    return token;
  };
  await read().catch((error: unknown) => {
    throw new Error(`the dashboard's token cannot be had: ${(error as Error).message}`, { cause: error });
  });
  return read;
}

/** Whether the value of a header, `Bearer <token>`, has the token; takes as long for every wrong one. */
export function isAllowed(authorization: string | undefined, token: string): boolean {
  const [, shown] = /^Bearer (.+)$/i.exec(authorization ?? '') ?? [];
  if (shown === undefined) return false;
  return timingSafeEqual(digest(shown), digest(token));
}

/** Of one length, whatever goes in. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
