/** The current place, in the fragment of the address: it works under any path, without the server. */
import { useEffect, useState } from 'preact/hooks';
import type { PastRange } from '../controller/dashboard/api.ts';

export type PageRoute =
  | { readonly page: 'pools' }
  /** Live if there is no range. */
  | { readonly page: 'pool'; readonly key: string; readonly range: PastRange | undefined };

const RANGES: readonly string[] = ['6h', '24h', '7d'] satisfies readonly PastRange[];

export function routeOf(hash: string): PageRoute {
  const [, namespace, name, query] = /^#\/pools\/([^/]+)\/([^/?]+)(?:\?(.*))?$/.exec(hash) ?? [];
  if (namespace === undefined || name === undefined) return { page: 'pools' };
  const asked = new URLSearchParams(query).get('range') ?? '';
  const range = RANGES.includes(asked) ? (asked as PastRange) : undefined;
  return { page: 'pool', key: `${decodeURIComponent(namespace)}/${decodeURIComponent(name)}`, range };
}

export function hrefOf(key: string, range?: PastRange): string {
  const query = range === undefined ? '' : `?range=${range}`;
  return `#/pools/${key.split('/').map(encodeURIComponent).join('/')}${query}`;
}

export function useRoute(): PageRoute {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const change = (): void => setHash(location.hash);
    window.addEventListener('hashchange', change);
    return () => window.removeEventListener('hashchange', change);
  }, []);
  return routeOf(hash);
}
