/**
 * The token: kept for this tab only. Where it is one of the dashboard's own it goes with actions only, and `millrace dev` hands it
 * over behind the `#` of the address that it prints, which no server ever sees. Where the server asks who reads, it is one of
 * Kubernetes and goes with everything.
 */
import { useEffect, useState } from 'preact/hooks';
import type { Action, ActionDone, Refusal } from '../controller/dashboard/api.ts';

const KEY = 'millrace-token';
const SIGN_IN = 'millrace-sign-in';
/** Not `authorization`, which the API server's proxy consumes. */
const HEADER = 'x-millrace-token';
const CHANGED = 'tokenchange';

export function takeTokenFromAddress(): void {
  const [, token] = /^#token=([\w.~-]+)$/.exec(location.hash) ?? [];
  if (token === undefined) return;
  sessionStorage.setItem(KEY, token);
  history.replaceState(undefined, '', `${location.pathname}${location.search}#/`);
}

export function setToken(token: string | undefined): void {
  if (token === undefined) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, token);
  window.dispatchEvent(new Event(CHANGED));
}

/** The server requires a token for reading: from now on, reads send it as well. */
export function wantSignIn(): void {
  sessionStorage.setItem(SIGN_IN, 'yes');
}

/** The headers of a request that reads. */
export function readingHeaders(): Record<string, string> {
  const token = sessionStorage.getItem(KEY);
  return token !== null && sessionStorage.getItem(SIGN_IN) !== null ? { [HEADER]: token } : {};
}

export function useToken(): string | undefined {
  const [token, set] = useState(sessionStorage.getItem(KEY));
  useEffect(() => {
    const change = (): void => set(sessionStorage.getItem(KEY));
    window.addEventListener(CHANGED, change);
    return () => window.removeEventListener(CHANGED, change);
  }, []);
  return token ?? undefined;
}

/** Performs an action and returns the number of affected items. Throws `Error` with the server's reason if it refuses. */
export async function sendAction(pool: string, action: Action): Promise<number> {
  const token = sessionStorage.getItem(KEY) ?? '';
  let response: Response;
  try {
    response = await fetch(`api/pools/${pool.split('/').map(encodeURIComponent).join('/')}/actions`, {
      method: 'POST',
      headers: { [HEADER]: token, 'content-type': 'application/json' },
      body: JSON.stringify(action),
    });
  } catch {
    throw new Error('the server does not answer');
  }
  const body = (await response.json().catch(() => ({}))) as Partial<ActionDone & Refusal>;
  if (response.ok) return body.count ?? 0;
  if (response.status === 401) setToken(undefined);
  throw new Error(body.error ?? `the server answered ${response.status}`);
}
