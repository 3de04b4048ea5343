/**
 * The token that allows to act: kept for this tab only, and sent with actions only. `millrace dev` hands it over behind the
 * `#` of the address that it prints, which no server ever sees.
 */
import { useEffect, useState } from 'preact/hooks';
import type { Action, ActionDone, Refusal } from '../controller/dashboard/api.ts';

const KEY = 'millrace-token';
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

export function useToken(): string | undefined {
  const [token, set] = useState(sessionStorage.getItem(KEY));
  useEffect(() => {
    const change = (): void => set(sessionStorage.getItem(KEY));
    window.addEventListener(CHANGED, change);
    return () => window.removeEventListener(CHANGED, change);
  }, []);
  return token ?? undefined;
}

/** Does it, and returns how many it was about. Throws an Error with what the server said when it refuses. */
export async function act(pool: string, action: Action): Promise<number> {
  const token = sessionStorage.getItem(KEY) ?? '';
  let response: Response;
  try {
    response = await fetch(`api/pools/${pool.split('/').map(encodeURIComponent).join('/')}/actions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
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
