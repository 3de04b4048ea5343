/**
 * Credentials that are replaced while connections exist: passwords and certificates that somebody rotates.
 *
 * Each connection is opened with the current ones. On connections that are open, a new user or password is sent by AUTH, which
 * ends nothing: a server that refuses it leaves the connection as it was. Certificates are checked when a connection is opened and
 * never again, so nothing is to be done about open ones.
 */
import type { Redis } from 'ioredis';
import { tlsOptions, type RedisAddress } from './address.ts';

/** The address with its current credentials. */
export function currentAddress(address: RedisAddress): RedisAddress {
  const { credentials, sentinel } = address;
  if (!credentials) return address;
  const { username, password, sentinelPassword, tls } = credentials.current();
  return {
    ...address,
    username: username ?? address.username,
    password: password ?? address.password,
    tls: address.tls && { ...address.tls, ...tls },
    sentinel: sentinel && { ...sentinel, password: sentinelPassword ?? sentinel.password },
  };
}

/** Renews the credentials of a client for as long as it lives. `encrypted`: whether its connections are. */
export function renewCredentials(redis: Redis, address: RedisAddress, encrypted: boolean): void {
  const { credentials } = address;
  if (!credentials) return;
  let known = credentials.current();
  // read again before each attempt to connect, not only where a change was noticed
  const renew = (): void => {
    if (credentials.current() === known) return;
    known = credentials.current();
    const { options } = redis;
    const now = currentAddress(address);
    // those of the URL are not among the address's own
    const { username = options.username, password = options.password } = now;
    const sameUser = username === options.username && password === options.password;
    const tls = encrypted ? tlsOptions(now) : undefined;
    Object.assign(options, { username, password, ...(tls ? { tls } : {}) });
    if (sameUser || !password || redis.status !== 'ready' || redis.mode === 'subscriber') return;
    const sent = username ? redis.auth(username, password) : redis.auth(password);
    sent.catch(() => undefined);
  };
  const stop = credentials.onChange(renew);
  redis.on('reconnecting', renew).on('end', stop);
}
