/**
 * Samples the queues of one Redis server for all pools on it. Queues where something happens are sampled every
 * `pollMs`, all in one pipelined round trip; idle ones only when the wake says so, and every `safetyMs` anyway.
 * A sample that failed says why; it is never a zero. Connects in the background and for ever.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Redis } from 'ioredis';
import { closeRedis, describeRedisError, openRedis, within, type RedisAddress } from '../queue/connection.ts';
import type { QueueKeys } from '../queue/keys.ts';
import { combineSamples, type PoolSample } from '../queue/combine.ts';
import { sampleQueue, WrongKeyType } from '../queue/sample.ts';
import { recoverLost } from '../queue/recover.ts';
import { sweep } from '../queue/sweep.ts';
import { defineScripts } from '../queue/scripts.ts';
import type { Logger } from '../runtime/log.ts';
import { watchEviction } from './eviction.ts';
import { createWake, type WakeMode } from './wake.ts';

export type Sampled =
  | {
      readonly kind: 'known';
      readonly sample: PoolSample;
      /** When the wake said that something came into queues that were all empty until then, ms of Redis time. */
      readonly quietUntil?: number;
      /** The same by performance.now(). */
      readonly wokenAt?: number;
    }
  | {
      readonly kind: 'unknown';
      readonly reason: 'Unreachable' | 'WrongKeyType' | 'NoAddress' | 'NotSampledYet';
      readonly why: string;
    };

export interface Sampler extends AsyncDisposable {
  /** Begins to sample queues for `id`; `onSample(id)` is called after each sample. Calling it again changes the queues. */
  add(id: string, queues: readonly QueueKeys[]): void;
  remove(id: string): void;
  latest(id: string): Sampled;
  /** Whether something happens at `id`: then it is sampled often. */
  setActive(id: string, active: boolean): void;
  readonly wakeMode: WakeMode;
  /** Why the server may lose tasks by itself, in words; `undefined` when it does not. */
  readonly evictionRisk: string | undefined;
  /** For what is done rarely: recovery, clean-up. */
  readonly redis: Redis;
}

export interface SamplerOptions {
  readonly address: RedisAddress;
  readonly onSample: (id: string) => void;
  readonly log: Logger;
  readonly pollMs?: number;
  readonly safetyMs?: number;
  readonly evictionMs?: number;
  readonly wakeMode?: WakeMode;
}

interface Entry {
  readonly queues: readonly QueueKeys[];
  active: boolean;
  sampled: Sampled;
  /** Of its queues, those where a first task would be news: empty and not paused. */
  quiet: readonly QueueKeys[];
  /** A look is on its way. */
  looking: boolean;
  lookAgain: boolean;
  /** What is past its time is being removed. */
  sweeping: boolean;
  lastLook: number;
  /** When the wake rang since then, while all queues were quiet. */
  wokenAt: number | undefined;
}

const CONNECT_MS = 5_000;
const ANSWER_MS = 3_000;
const notYet: Sampled = { kind: 'unknown', reason: 'NotSampledYet', why: 'the queue was not read yet' };

export function createSampler(options: SamplerOptions): Sampler {
  const { address, onSample, log, pollMs = 1_000, safetyMs = 30_000 } = options;
  const entries = new Map<string, Entry>();
  let lastError: Error | undefined;
  /** The first attempt to connect has ended, well or not. */
  const tried = Promise.withResolvers<void>();
  // all commands of one tick travel in one write
  const redis = defineScripts(
    openRedis(address, {
      enableAutoPipelining: true,
      enableOfflineQueue: false,
      socketTimeout: 1e4,
      onError: (error) => {
        lastError = error;
        tried.resolve();
      },
    }),
  );
  const lookAll = (): void => {
    for (const id of entries.keys()) void look(id);
  };
  redis.on('ready', () => {
    lastError = undefined;
    tried.resolve();
    lookAll();
  });
  const eviction = watchEviction(redis, log, lookAll, options.evictionMs);
  const wake = createWake({
    address,
    log,
    ...(options.wakeMode ? { mode: options.wakeMode } : {}),
    onWake: (queue) => {
      for (const [id, entry] of entries) {
        if (queue !== undefined && !has(entry, queue)) continue;
        if (queue !== undefined && isQuiet(entry)) entry.wokenAt ??= performance.now();
        void look(id);
      }
    },
  });
  const timer = setInterval(poll, pollMs);

  const isQuiet = ({ quiet, queues }: Entry): boolean => quiet.length === queues.length;
  const has = (entry: Entry, queue: string): boolean => entry.queues.some((keys) => keys.queue === queue);

  function poll(): void {
    const now = performance.now();
    for (const [id, entry] of entries) {
      const often =
        entry.active ||
        entry.sampled.kind === 'unknown' ||
        wake.mode === 'Polling' ||
        isPaused(entry) ||
        fellDue(entry, now);
      if (now - entry.lastLook >= (often ? pollMs : safetyMs) - pollMs / 10) void look(id);
    }
  }

  /** Nothing tells that a queue was resumed. */
  const isPaused = ({ sampled }: Entry): boolean =>
    sampled.kind === 'known' && sampled.sample.pausedQueues > 0;

  /** A delayed task's time has come since the last look, or the end of a lease that should have been renewed. */
  function fellDue({ sampled, lastLook }: Entry, now: number): boolean {
    if (sampled.kind !== 'known') return false;
    const { nextDue = Infinity, nextExpiry = Infinity } = sampled.sample;
    return sampled.sample.now + (now - lastLook) >= Math.min(nextDue, nextExpiry);
  }

  /** Never rejects. */
  async function look(id: string): Promise<void> {
    const entry = entries.get(id);
    if (entry?.looking) entry.lookAgain = true;
    if (!entry || entry.looking) return;
    entry.looking = true;
    entry.lastLook = performance.now();
    const { sampled, quiet } = await sampleOnce(entry.queues);
    entry.looking = false;
    if (entries.get(id) !== entry) return;
    entry.sampled = withWake(sampled, entry.wokenAt);
    // a ring while it was looking may be about what the next look sees
    if (!entry.lookAgain) entry.wokenAt = undefined;
    entry.quiet = quiet;
    onSample(id);
    if (sampled.kind === 'known' && sampled.sample.overdue) void sweepOnce(entry);
    const again = entry.lookAgain || (await listen(entry));
    entry.lookAgain = false;
    if (again) void look(id);
  }

  const withWake = (sampled: Sampled, wokenAt: number | undefined): Sampled =>
    sampled.kind === 'known' && wokenAt !== undefined
      ? { ...sampled, wokenAt, quietUntil: sampled.sample.now - (performance.now() - wokenAt) }
      : sampled;

  async function sampleOnce(queues: readonly QueueKeys[]): Promise<Pick<Entry, 'sampled' | 'quiet'>> {
    const unknown = (reason: 'WrongKeyType' | 'Unreachable', why: string) =>
      ({ sampled: { kind: 'unknown', reason, why }, quiet: [] }) as const;
    try {
      if (redis.status !== 'ready') await within(CONNECT_MS, tried.promise, 'the connection');
      const reading = Promise.all(queues.map((keys) => sampleQueue(redis, keys)));
      const samples = await within(ANSWER_MS, reading, 'the sample');
      for (const [i, { expired, suspects, workers }] of samples.entries()) {
        const keys = queues[i];
        const stranded = suspects > 0 && workers === 0;
        if (keys && (expired > 0 || stranded))
          await within(ANSWER_MS, recoverLost(redis, keys, log), 'the recovery');
      }
      const quiet = queues.filter((_, i) => samples[i]?.waiting === 0 && !samples[i].paused);
      return { sampled: { kind: 'known', sample: combineSamples(samples) }, quiet };
    } catch (error) {
      if (error instanceof WrongKeyType) return unknown('WrongKeyType', error.message);
      const cause = redis.status === 'ready' ? error : (lastError ?? error);
      return unknown('Unreachable', describeRedisError(cause, address));
    }
  }

  /** One at a time. Nobody waits for it, and it never rejects. */
  async function sweepOnce(entry: Entry): Promise<void> {
    if (entry.sweeping) return;
    entry.sweeping = true;
    for (const keys of entry.queues) {
      await sweep(redis, keys).catch((error: unknown) => {
        log.debug({ queue: keys.queue, error: (error as Error).message }, 'could not sweep');
      });
    }
    entry.sweeping = false;
  }

  /** Arms the wake of idle queues. `true` when something came in the meantime. */
  async function listen({ sampled, quiet }: Entry): Promise<boolean> {
    if (sampled.kind !== 'known' || sampled.sample.runnable.waiting > 0) return false;
    try {
      return (await Promise.all(quiet.map((keys) => wake.arm(keys)))).some(Boolean);
    } catch {
      return false; // the connection went away: it arms everything anew when it is back
    }
  }

  return {
    redis,
    get wakeMode() {
      return wake.mode;
    },
    get evictionRisk() {
      return eviction.risk;
    },
    add: (id, queues) => {
      const names = ({ queue, result }: QueueKeys): string => JSON.stringify([queue, result]);
      const entry = entries.get(id);
      if (entry && isDeepStrictEqual(entry.queues.map(names), queues.map(names))) return;
      const still = { looking: false, lookAgain: false, sweeping: false, wokenAt: undefined };
      entries.set(id, { queues, quiet: [], sampled: notYet, lastLook: -Infinity, active: true, ...still });
      void look(id);
    },
    remove: (id) => {
      const entry = entries.get(id);
      if (!entry) return;
      entries.delete(id);
      for (const { queue } of entry.queues)
        if (![...entries.values()].some((other) => has(other, queue))) wake.forget(queue);
    },
    latest: (id) => entries.get(id)?.sampled ?? notYet,
    setActive: (id, active) => {
      const entry = entries.get(id);
      if (entry) entry.active = active;
    },
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      eviction[Symbol.dispose]();
      entries.clear();
      await Promise.all([wake[Symbol.asyncDispose](), closeRedis(redis)]);
    },
  };
}
