/**
 * Tries credentials that were replaced on a connection of their own, and logs whether Redis accepts them: the sign that the old ones
 * may be revoked. Refused ones are tried again, less and less often; open connections continue meanwhile.
 */
import type { RedisAddress } from '../../../queue/connection/address.ts';
import { describeRedisError, dropRedis, openRedis, within } from '../../../queue/connection/connection.ts';
import { isReply } from '../../../queue/connection/reply-code.ts';
import { LogEvent } from '../../../runtime/log-event.ts';
import type { Logger } from '../../../runtime/log.ts';
import { sleep } from '../../../runtime/timers.ts';

const TRIAL_TIMEOUT_MS = 10_000;
const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 60_000;

/** Until it is disposed of. */
export function reportRenewals(address: RedisAddress, log: Logger): Disposable {
  let trial = new AbortController();

  async function tryUntilAccepted({ signal }: AbortController): Promise<void> {
    let told = '';
    for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      const refusal = await refusalOf(address);
      if (signal.aborted) return;
      if (refusal === undefined)
        return log.info(
          { event: LogEvent.CredentialsRenewed },
          'Redis accepts the new credentials, which each new connection uses from now on',
        );
      if (refusal !== told)
        log.warn(
          { event: LogEvent.CredentialsRefused, reason: refusal },
          'the new credentials for Redis do not work; open connections continue, retrying',
        );
      told = refusal;
      await sleep(pauseMs, signal);
    }
  }

  const stop = address.credentials?.onChange(() => {
    trial.abort();
    trial = new AbortController();
    void tryUntilAccepted(trial);
  });
  return {
    [Symbol.dispose]: () => {
      stop?.();
      trial.abort();
    },
  };
}

/** Why a connection with the current credentials fails; `undefined` if it does not. */
async function refusalOf(address: RedisAddress): Promise<string | undefined> {
  let last: unknown;
  const redis = openRedis(address, { onError: (error) => (last ??= error), retryStrategy: () => null });
  try {
    await within(TRIAL_TIMEOUT_MS, redis.ping(), 'PING');
    return undefined;
  } catch (error) {
    // a server that refuses PING (no permission, no snapshots) has accepted the connection
    return redis.status === 'ready' && isReply(error)
      ? undefined
      : describeRedisError(last ?? error, address);
  } finally {
    dropRedis(redis);
  }
}
