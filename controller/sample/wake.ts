/**
 * How the controller notices the first task in an empty queue: by client tracking where the server allows it, else by
 * a blocking peek per queue, else by polling alone. A wake is only a hint; the sampler then reads the queue.
 *
 * `Tracking`: LLEN and ZCARD of an idle queue are read through a KeyWatch, which arms them until their first change.
 * `BlockingPeek`: BLMOVE q q RIGHT RIGHT, which changes nothing by definition and returns when there is something.
 */
import type { Redis } from 'ioredis';
import { replyCode } from '../../queue/connection/reply-code.ts';
import { openBounded } from '../../queue/connection/untrusted.ts';
import { closeRedis, dropRedis, within, type RedisAddress } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { ReplyRefused } from '../../queue/connection/reply-scanner.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { askAgain, type Watched } from '../../queue/sources/ask.ts';
import { openKeyWatch, TrackingRefused, type KeyWatch } from '../../queue/watch.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';

export const WakeMode = { Tracking: 'Tracking', BlockingPeek: 'BlockingPeek', Polling: 'Polling' } as const;
export type WakeMode = (typeof WakeMode)[keyof typeof WakeMode];

/** Numbers of tasks. */
export interface Armed {
  readonly waiting: number;
  readonly delayed: number;
}

export interface Wake extends AsyncDisposable {
  readonly mode: WakeMode;
  /** Resolves when the mode is settled, or the first attempt to listen has failed. */
  readonly settled: Promise<void>;
  /**
   * Begins to listen to an idle queue. Resolves to its contents at that moment, if known: there is no wake for tasks that arrived
   * between the last read and then.
   */
  arm(keys: QueueKeys): Promise<Armed | undefined>;
  /**
   * Begins to listen to the keys of these questions. Resolves to the answers at that moment; to `undefined` where keys cannot be
   * tracked, and only polling shows what changes.
   */
  watch(watched: readonly Watched[]): Promise<readonly string[] | undefined>;
  /** Stops listening to the queue. */
  forget(keys: QueueKeys): void;
}

export interface WakeOptions {
  readonly address: RedisAddress;
  /** A queue changed; `undefined` if any may have, so that all must be armed again. */
  readonly onWake: (queue: string | undefined) => void;
  readonly log: Logger;
  /** For tests, and for servers whose tracking is known to be unreliable: begins with this mode. */
  readonly mode?: WakeMode;
}

const CONNECT_TIMEOUT_MS = 5_000;
const RETRY_MS = 1_000;
const PEEK_S = 20;
const ANSWER_TIMEOUT_MS = 3_000;

/** Connects in the background; until then, and while the server is away, `mode` is Polling. */
export function createWake({ address, onWake, log, mode: wanted = WakeMode.Tracking }: WakeOptions): Wake {
  const closing = new AbortController();
  const delayedOf = new Map<string, string>();
  const peeks = new Map<string, Redis>();
  const settled = Promise.withResolvers<void>();
  let watch: KeyWatch | undefined;
  let refused = wanted;

  async function connect(): Promise<void> {
    while (!closing.signal.aborted && refused === WakeMode.Tracking && !watch) {
      try {
        const onChange = (changed: readonly string[] | undefined): void => {
          if (!changed) return onWake(undefined);
          for (const key of changed) onWake(delayedOf.get(key) ?? key);
        };
        const opened = await openKeyWatch(address, onChange, CONNECT_TIMEOUT_MS, closing.signal, openBounded);
        if (closing.signal.aborted) return await opened[Symbol.asyncDispose]();
        defineScripts(opened.reader);
        watch = opened;
        settled.resolve();
        onWake(undefined);
      } catch (error) {
        if (error instanceof TrackingRefused) {
          log.warn({ err: error }, 'no client tracking: idle queues are peeked at with a blocking read each');
          refused = WakeMode.BlockingPeek;
          settled.resolve();
          onWake(undefined);
        } else {
          settled.resolve();
          if (!closing.signal.aborted) await systemClock.sleep(RETRY_MS, closing.signal);
        }
      }
    }
    settled.resolve();
  }

  async function armTracking({ reader }: KeyWatch, keys: QueueKeys): Promise<Armed> {
    delayedOf.set(keys.delayed, keys.queue);
    const read = Promise.all([reader.llen(keys.queue), reader.zcard(keys.delayed)]);
    const [waiting, delayed] = await within(ANSWER_TIMEOUT_MS, read, 'LLEN');
    return { waiting, delayed };
  }

  /** Peeks until there is something; the connection is closed again then. */
  function peek(queue: string): void {
    if (peeks.has(queue)) return;
    const redis = openBounded(address, {
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      socketTimeout: (PEEK_S + 5) * 1_000,
    });
    peeks.set(queue, redis);
    void (async () => {
      try {
        while (peeks.get(queue) === redis) {
          const found = await within(
            (PEEK_S + 2) * 1_000,
            redis.blmove(queue, queue, 'RIGHT', 'RIGHT', PEEK_S),
            'BLMOVE',
          );
          if (found === null) continue;
          onWake(queue);
          break;
        }
      } catch (error) {
        // a task that is too long to be read is a task
        if (error instanceof ReplyRefused && error.kind === 'TooLarge') onWake(queue);
        // WRONGTYPE and the like concern a single queue, and the sampler reports them
        if (['NOPERM', 'ERR'].includes(replyCode(error) ?? '') && refused === WakeMode.BlockingPeek) {
          log.warn({ err: error }, 'no blocking peek either: idle queues are polled');
          refused = WakeMode.Polling;
          onWake(undefined);
        }
      } finally {
        if (peeks.get(queue) === redis) peeks.delete(queue);
        await closeRedis(redis);
      }
    })();
  }

  const connecting = connect();
  return {
    settled: settled.promise,
    get mode() {
      if (refused !== WakeMode.Tracking) return refused;
      return watch?.armed ? WakeMode.Tracking : WakeMode.Polling;
    },
    arm: async (keys) => {
      if (refused === WakeMode.BlockingPeek) peek(keys.queue);
      return watch?.armed ? armTracking(watch, keys) : undefined;
    },
    watch: async (watched) =>
      watch?.armed ? within(ANSWER_TIMEOUT_MS, askAgain(watch.reader, watched), 'the watch') : undefined,
    forget: ({ queue, delayed }) => {
      delayedOf.delete(delayed);
      const redis = peeks.get(queue);
      peeks.delete(queue);
      if (redis) dropRedis(redis);
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      for (const [queue, redis] of peeks) {
        peeks.delete(queue);
        dropRedis(redis);
      }
      await connecting;
      await watch?.[Symbol.asyncDispose]();
    },
  };
}
