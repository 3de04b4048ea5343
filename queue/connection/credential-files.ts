/**
 * Credentials in files, as Kubernetes and Docker mount Secrets: read again every two seconds, as a mounted Secret is replaced by
 * way of a symbolic link, which notices of the file system do not follow.
 *
 * Files of one Secret may be read while it is being replaced: a file that is missing or empty for a moment, or a certificate
 * without its key, is ignored until all of them belong together.
 */
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import { interval, type Timer } from '../../runtime/timers.ts';
import type { CredentialSource, RedisCredentials } from './address.ts';

/** How often files are read, ms. */
const READ_EVERY_MS = 2_000;

/**
 * `read` throws where something is missing. Credentials that cannot be used are ignored; those before them stay, at first those of
 * the address.
 */
export function credentialsFrom(read: () => RedisCredentials, everyMs = READ_EVERY_MS): CredentialSource {
  let known: RedisCredentials = {};
  current();
  // by then, a connection may have read what is new
  let told = known;
  const listeners = new Set<() => void>();
  let timer: Timer | undefined;

  function current(): RedisCredentials {
    try {
      const found = read();
      if (isDeepStrictEqual(found, known)) return known;
      if (found.tls) checkUsable(found.tls);
      known = found;
    } catch {
      // read again in a moment
    }
    return known;
  }

  function look(): void {
    if (current() === told) return;
    told = known;
    for (const listener of listeners) listener();
  }

  return {
    current,
    onChange: (listener) => {
      listeners.add(listener);
      timer ??= interval(everyMs, look).unref();
      return () => {
        listeners.delete(listener);
        if (listeners.size > 0) return;
        timer?.clear();
        timer = undefined;
      };
    },
  };
}

/** Throws if a text is no certificate or no key, or key and certificate do not belong together. */
function checkUsable(tls: NonNullable<RedisCredentials['tls']>): void {
  createSecureContext(tls);
  // what is no certificate is left out silently there
  for (const pem of [tls.ca, tls.cert]) if (pem) new X509Certificate(pem);
}
