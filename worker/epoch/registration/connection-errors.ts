/**
 * Handles errors on a worker's connections: one log line per cause, repeated after increasing pauses; and the end of the worker
 * when Redis refuses it for good.
 *
 * A server that refuses user name, password or certificates will not recover, so the worker ends, for its supervisor to restart it
 * with the current ones. Those in files are read again for each connection, and a worker waits for as long as Kubernetes may take to
 * replace a mounted Secret. The same applies to a missing database and to a cluster that is named as a single server, or the
 * reverse. A server that is merely unreachable is waited for.
 */
import type { RedisAddress } from '../../../queue/connection/address.ts';
import {
  describeRedisError,
  troubleOfRedis,
  type RedisTrouble,
} from '../../../queue/connection/redis-errors.ts';
import { replyCode } from '../../../queue/connection/reply-code.ts';
import { LogEvent } from '../../../runtime/log-event.ts';
import { timeout, type Timer } from '../../../runtime/timers.ts';

/** Long enough to change a password in two places. */
const REFUSED_MS = 30_000;
/** A kubelet replaces the files of a Secret within its period of a minute, half of it more at random, and some seconds. */
const REFUSED_FILES_MS = 150_000;
const REPEAT_MS = 60_000;
const LONGEST_REPEAT_MS = 3_600_000;
const MOST_CAUSES = 100;

const FOR_GOOD: ReadonlySet<RedisTrouble> = new Set(['credentials', 'tls', 'database', 'cluster']);

/** One connection, or another operation that Redis may refuse. */
export interface ConnectionAttempts {
  failed(error: unknown): void;
  /** It works. */
  succeeded(): void;
}

export interface Refusals extends Disposable {
  attempts(): ConnectionAttempts;
  /** Resolves to the reason, human-readable, when something was refused for `afterMs` without a success. */
  readonly forGood: Promise<string>;
}

/** The fields of a log line about an error. */
export interface RedisFailure {
  readonly event: typeof LogEvent.RedisFailed;
  readonly trouble: RedisTrouble;
  /** Of the operating system or of Redis' reply. */
  readonly code: string | undefined;
}

export interface RefusalOptions {
  readonly address: RedisAddress;
  readonly afterMs: number;
  readonly log: (line: string, about: RedisFailure) => void;
  /** Monotonic, ms. */
  readonly now: () => number;
}

/** How long credentials are refused before a worker ends, ms. */
export function patienceWith({ credentials }: RedisAddress): number {
  return credentials ? REFUSED_FILES_MS : REFUSED_MS;
}

export function createRefusals({ address, afterMs, log, now }: RefusalOptions): Refusals {
  const timers = new Set<Timer>();
  const logged = new Map<string, { at: number; pauseMs: number }>();
  const { promise: forGood, resolve } = Promise.withResolvers<string>();

  function logRarely(line: string, trouble: RedisTrouble, error: unknown): void {
    const before = logged.get(line);
    if (before && now() < before.at + before.pauseMs) return;
    if (logged.size >= MOST_CAUSES) logged.clear();
    const pauseMs = before ? Math.min(2 * before.pauseMs, LONGEST_REPEAT_MS) : REPEAT_MS;
    logged.set(line, { at: now(), pauseMs });
    const code = replyCode(error) ?? (error as NodeJS.ErrnoException).code;
    log(line, { event: LogEvent.RedisFailed, trouble, code });
  }

  return {
    forGood,
    attempts: () => {
      let timer: Timer | undefined;
      const stopTimer = (): void => {
        if (!timer) return;
        timer.clear();
        timers.delete(timer);
        timer = undefined;
      };
      return {
        failed: (error) => {
          const line = describeRedisError(error, address);
          const trouble = troubleOfRedis(error, address);
          logRarely(line, trouble, error);
          // a server that refuses a certificate may hang up before it has sent the reason
          if (!FOR_GOOD.has(trouble)) return trouble === 'closed' ? undefined : stopTimer();
          timer ??= timeout(afterMs, () => resolve(line)).unref();
          timers.add(timer);
        },
        succeeded: () => {
          stopTimer();
          logged.clear();
        },
      };
    },
    [Symbol.dispose]: () => {
      for (const timer of timers) timer.clear();
    },
  };
}
