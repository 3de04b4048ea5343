/**
 * How the controller notices the first task in an empty queue: by client tracking where the server allows it, else by
 * a blocking peek per queue, else by polling alone. A wake is only a hint; the sampler then reads the queue.
 *
 * `Tracking`: LLEN and ZCARD of an idle queue are read through a KeyWatch, which arms them until their first change.
 * `BlockingPeek`: a blocking read of each idle queue (peeks.ts).
 */
import { openBounded } from '../../queue/connection/untrusted.ts';
import { within, type RedisAddress } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { askAgain, type Watched } from '../../queue/sources/ask.ts';
import { openKeyWatch, REFUSED_PAUSE_MS, TrackingRefused, type KeyWatch } from '../../queue/watch.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { createPeeks } from './peeks.ts';

export const WakeMode = { Tracking: 'Tracking', BlockingPeek: 'BlockingPeek', Polling: 'Polling' } as const;
export type WakeMode = (typeof WakeMode)[keyof typeof WakeMode];

/** Numbers of tasks. */
export interface Armed {
  readonly waiting: number;
  readonly delayed: number;
}

export interface Wake extends AsyncDisposable {
  readonly mode: WakeMode;
  /** Resolves when the mode is settled for these queues, the first attempt to listen has failed, or after a second. */
  listening(queues: readonly QueueKeys[]): Promise<void>;
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
  /** `REFUSED_PAUSE_MS` by default. */
  readonly refusedPauseMs?: number;
}

const CONNECT_TIMEOUT_MS = 5_000;
const LISTEN_TIMEOUT_MS = 1_000;
const RETRY_MS = 1_000;
const ANSWER_TIMEOUT_MS = 3_000;

/** Connects in the background; until then, and while the server is away, `mode` is Polling. */
export function createWake(options: WakeOptions): Wake {
  const { address, onWake, log, refusedPauseMs = REFUSED_PAUSE_MS } = options;
  const closing = new AbortController();
  const settled = Promise.withResolvers<void>();
  const delayedOf = new Map<string, string>();
  let watch: KeyWatch | undefined;
  /** The best mode that the server has not refused lately. */
  let allowed = options.mode ?? WakeMode.Tracking;

  function refuse(error: unknown, next: WakeMode, consequence: string): void {
    log.warn({ err: error }, consequence);
    allowed = next;
    settled.resolve();
    onWake(undefined);
  }

  const peeks = createPeeks({
    address,
    onFound: onWake,
    onRefused: (error) => {
      if (allowed === WakeMode.BlockingPeek)
        refuse(error, WakeMode.Polling, 'no blocking peek either: idle queues are polled');
    },
  });

  function onChange(changed: readonly string[] | undefined): void {
    if (!changed) return onWake(undefined);
    for (const key of changed) onWake(delayedOf.get(key) ?? key);
  }

  function accept(opened: KeyWatch): void {
    if (allowed !== WakeMode.Tracking) log.info('client tracking is allowed now');
    allowed = WakeMode.Tracking;
    peeks[Symbol.dispose]();
    defineScripts(opened.reader);
    watch = opened;
    settled.resolve();
    onWake(undefined);
  }

  /** A refusal is followed by other ways to notice a push, and by another attempt: the rights of a user can be mended. */
  async function connect(): Promise<void> {
    const { signal } = closing;
    const mayTrack = allowed === WakeMode.Tracking;
    while (!signal.aborted && mayTrack && !watch) {
      try {
        const opened = await openKeyWatch(address, onChange, CONNECT_TIMEOUT_MS, signal, openBounded);
        if (signal.aborted) return await opened[Symbol.asyncDispose]();
        accept(opened);
      } catch (error) {
        const refused = error instanceof TrackingRefused;
        if (refused && allowed === WakeMode.Tracking)
          refuse(
            error,
            WakeMode.BlockingPeek,
            'no client tracking: idle queues are peeked at with a blocking read each',
          );
        settled.resolve();
        if (!signal.aborted) await systemClock.sleep(refused ? refusedPauseMs : RETRY_MS, signal);
      }
    }
    settled.resolve();
  }

  const connecting = connect();
  const listening = within(LISTEN_TIMEOUT_MS, settled.promise, 'the wake').catch(() => {});
  return {
    listening: () => listening,
    get mode() {
      if (allowed !== WakeMode.Tracking) return allowed;
      return watch?.armed ? WakeMode.Tracking : WakeMode.Polling;
    },
    arm: async (keys) => {
      if (allowed === WakeMode.BlockingPeek) peeks.open(keys.queue);
      if (!watch?.armed) return undefined;
      delayedOf.set(keys.delayed, keys.queue);
      return armQueue(watch, keys);
    },
    watch: async (watched) =>
      watch?.armed ? within(ANSWER_TIMEOUT_MS, askAgain(watch.reader, watched), 'the watch') : undefined,
    forget: ({ queue, delayed }) => {
      delayedOf.delete(delayed);
      peeks.close(queue);
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      peeks[Symbol.dispose]();
      await connecting;
      await watch?.[Symbol.asyncDispose]();
    },
  };
}

async function armQueue({ reader }: KeyWatch, keys: QueueKeys): Promise<Armed> {
  const read = Promise.all([reader.llen(keys.queue), reader.zcard(keys.delayed)]);
  const [waiting, delayed] = await within(ANSWER_TIMEOUT_MS, read, 'LLEN');
  return { waiting, delayed };
}
