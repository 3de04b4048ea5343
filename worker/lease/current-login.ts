/** The credentials of the lease thread's next connection. */
import { readFileSync } from 'node:fs';
import { createSecureContext, type ConnectionOptions } from 'node:tls';
import { renewedUser } from '../../queue/connection/address.ts';
import type { LeaseLogin } from './lease.ts';

export interface Login {
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly tls: ConnectionOptions | undefined;
}

/** What is in the files now; `known` where there are none, and where they cannot be used. */
export function currentLogin(login: LeaseLogin | undefined, known: Login): Login {
  if (!login) return known;
  const { files } = login;
  try {
    const text = textOf(files.url);
    const url = text === undefined ? undefined : renewedUser(text, login.url ?? '');
    return {
      username: login.username ?? url?.username ?? known.username,
      password: textOf(files.password) ?? login.password ?? url?.password ?? known.password,
      tls: known.tls && tlsNow(files, known.tls),
    };
  } catch {
    // a file is being replaced
    return known;
  }
}

function tlsNow({ ca, cert, key }: LeaseLogin['files'], known: ConnectionOptions): ConnectionOptions {
  const renewed = {
    ca: textOf(ca) ?? known.ca,
    cert: textOf(cert) ?? known.cert,
    key: textOf(key) ?? known.key,
  };
  // throws for a certificate without its key
  createSecureContext(renewed);
  return { ...known, ...renewed };
}

/** Throws if it cannot be read or holds nothing. */
function textOf(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  const text = readFileSync(path, 'utf8').trim();
  if (text === '') throw new Error('the file is empty');
  return text;
}
