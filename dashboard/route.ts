/** Where one is: in the part of the address behind `#`, which works under any path and needs nothing of a server. */
import { useEffect, useState } from 'preact/hooks';

export type Place = { readonly page: 'pools' } | { readonly page: 'pool'; readonly key: string };

export function placeOf(hash: string): Place {
  const [, namespace, name] = /^#\/pools\/([^/]+)\/([^/]+)$/.exec(hash) ?? [];
  if (namespace === undefined || name === undefined) return { page: 'pools' };
  return { page: 'pool', key: `${decodeURIComponent(namespace)}/${decodeURIComponent(name)}` };
}

export function hrefOf(key: string): string {
  return `#/pools/${key.split('/').map(encodeURIComponent).join('/')}`;
}

export function usePlace(): Place {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const change = (): void => setHash(location.hash);
    window.addEventListener('hashchange', change);
    return () => window.removeEventListener('hashchange', change);
  }, []);
  return placeOf(hash);
}
