/**
 * Credentials that were replaced in a pool's Secrets, maybe before Redis accepts them: they are tried on a connection of their own,
 * while the one with the old credentials stays in use and reconnects if it breaks. The trial is over when Redis has answered the new
 * connection, or after two minutes: from then on the new credentials are the only ones.
 */
import { isDeepStrictEqual } from 'node:util';
import { parseUrl, type RedisAddress } from '../../queue/connection/address.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { QueueLink, Sampler } from '../sample/sampler.ts';
import type { RedisHub } from './redis-hub.ts';

export interface Trial {
  /** With the new credentials. */
  readonly address: RedisAddress;
  readonly sampler: Pick<Sampler, 'latest'>;
  readonly key: string;
  /** By the clock's elapsed(). */
  readonly since: number;
}

/** How long old credentials are used after they were replaced, ms: as long as the guide gives to all who read the Secret. */
export const TRIAL_MS = 120_000;

export function isTrialOver(trial: Trial | undefined, clock: Clock): boolean {
  if (!trial) return false;
  const latest = trial.sampler.latest(trial.key);
  // whatever else is wrong there, Redis has let us in
  const refused =
    latest.kind === 'unknown' && (latest.reason === 'Unreachable' || latest.reason === 'NotSampledYet');
  return !refused || clock.elapsed() - trial.since >= TRIAL_MS;
}

export interface TrialInput {
  readonly key: string;
  /** The link in use. */
  readonly before: { readonly address: RedisAddress; readonly link: QueueLink };
  readonly wanted: RedisAddress;
  readonly running: Trial | undefined;
}

/** Begins or continues a trial of `wanted`; `undefined` if it is over, or if more than credentials differ. */
export function beginTrial(
  { hub, clock }: { readonly hub: RedisHub; readonly clock: Clock },
  { key, before, wanted, running }: TrialInput,
): Trial | undefined {
  if (isDeepStrictEqual(before.address, wanted) || !isSameServer(before.address, wanted)) return undefined;
  const sampler = hub.prepare(key, wanted);
  sampler.add(key, before.link.queues, before.link.source);
  const isRunning = running !== undefined && isDeepStrictEqual(running.address, wanted);
  if (!isRunning) sampler.setActive(key, false, 0);
  const trial = { address: wanted, sampler, key, since: isRunning ? running.since : clock.elapsed() };
  return isTrialOver(trial, clock) ? undefined : trial;
}

function isSameServer(a: RedisAddress, b: RedisAddress): boolean {
  try {
    return isDeepStrictEqual(serverOf(a), serverOf(b));
  } catch {
    // a URL that cannot be read is reported, not tried
    return false;
  }
}

/** An address without its credentials. Throws `RangeError` for a URL that cannot be read. */
function serverOf({ url, sentinel, cluster, tls, guard }: RedisAddress): unknown {
  const { host, port, db, secure } = parseUrl(url ?? 'redis://');
  return {
    server: url === undefined ? undefined : { host, port, db, secure },
    sentinel: sentinel && { name: sentinel.name, nodes: sentinel.nodes },
    cluster,
    tls: tls && { serverName: tls.serverName, insecureSkipVerify: tls.insecureSkipVerify },
    guard,
  };
}
