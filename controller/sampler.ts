/**
 * Samples the queues of one Redis server for all pools on it. Queues where something happens are sampled every
 * `pollMs`, all in one pipelined round trip; idle ones only when the wake says so, and every `safetyMs` anyway.
 * A sample that failed says why; it is never a zero. Connects in the background and for ever.
 */
import type { Redis } from 'ioredis';
import { closeRedis, describeRedisError, openRedis, within, type RedisAddress } from '../queue/connection.ts';
import type { QueueKeys } from '../queue/keys.ts';
import { sampleQueue, WrongKeyType, type QueueSample } from '../queue/sample.ts';
import { recoverLost } from '../queue/recover.ts';
import { defineScripts } from '../queue/scripts.ts';
import type { Logger } from '../runtime/log.ts';
import { watchEviction } from './eviction.ts';
import { createWake, type WakeMode } from './wake.ts';

export type Sampled =
  | { readonly kind: 'known'; readonly sample: QueueSample }
  | {
      readonly kind: 'unknown';
      readonly reason: 'Unreachable' | 'WrongKeyType' | 'NoAddress' | 'NotSampledYet';
      readonly why: string;
    };

export interface Sampler extends AsyncDisposable {
  /** Begins to sample for `id`; `onSample(id)` is called after each sample. Calling it again changes the keys. */
  add(id: string, keys: QueueKeys): void;
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
  keys: QueueKeys;
  active: boolean;
  sampled: Sampled;
  /** A look is on its way. */
  looking: boolean;
  lookAgain: boolean;
  lastLook: number;
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
  redis.on('ready', () => {
    lastError = undefined;
    tried.resolve();
    for (const id of entries.keys()) void look(id);
  });
  const lookAll = (): void => {
    for (const id of entries.keys()) void look(id);
  };
  const eviction = watchEviction(redis, log, lookAll, options.evictionMs);
  const wake = createWake({
    address,
    log,
    ...(options.wakeMode ? { mode: options.wakeMode } : {}),
    onWake: (queue) => {
      for (const [id, entry] of entries) if (queue === undefined || entry.keys.queue === queue) void look(id);
    },
  });
  const timer = setInterval(poll, pollMs);

  function poll(): void {
    const now = performance.now();
    for (const [id, entry] of entries) {
      const often =
        entry.active || entry.sampled.kind === 'unknown' || wake.mode === 'Polling' || fellDue(entry, now);
      if (now - entry.lastLook >= (often ? pollMs : safetyMs) - pollMs / 10) void look(id);
    }
  }

  /** A delayed task's time has come since the last look. */
  function fellDue({ sampled, lastLook }: Entry, now: number): boolean {
    if (sampled.kind !== 'known' || sampled.sample.nextDue === undefined) return false;
    return sampled.sample.now + (now - lastLook) >= sampled.sample.nextDue;
  }

  /** Never rejects. */
  async function look(id: string): Promise<void> {
    const entry = entries.get(id);
    if (!entry) return;
    if (entry.looking) {
      entry.lookAgain = true;
      return;
    }
    entry.looking = true;
    entry.lastLook = performance.now();
    const sampled = await sampleOnce(entry.keys);
    entry.looking = false;
    if (entries.get(id) !== entry) return;
    entry.sampled = sampled;
    onSample(id);
    const again = entry.lookAgain || (await listen(entry));
    entry.lookAgain = false;
    if (again) void look(id);
  }

  async function sampleOnce(keys: QueueKeys): Promise<Sampled> {
    try {
      if (redis.status !== 'ready') await within(CONNECT_MS, tried.promise, 'the connection');
      const sample = await within(ANSWER_MS, sampleQueue(redis, keys), 'the sample');
      if (sample.expired > 0) await within(ANSWER_MS, recoverLost(redis, keys, log), 'the recovery');
      return { kind: 'known', sample };
    } catch (error) {
      if (error instanceof WrongKeyType)
        return { kind: 'unknown', reason: 'WrongKeyType', why: error.message };
      const cause = redis.status === 'ready' ? error : (lastError ?? error);
      return { kind: 'unknown', reason: 'Unreachable', why: describeRedisError(cause, address) };
    }
  }

  /** Arms the wake of an idle queue. `true` when something came in the meantime. */
  async function listen({ sampled, keys }: Entry): Promise<boolean> {
    if (sampled.kind !== 'known' || sampled.sample.waiting > 0) return false;
    try {
      return await wake.arm(keys);
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
    add: (id, keys) => {
      const entry = entries.get(id);
      if (entry && entry.keys.queue === keys.queue && entry.keys.result === keys.result) return;
      const fresh = { looking: false, lookAgain: false, lastLook: -Infinity, active: true };
      entries.set(id, { keys, sampled: notYet, ...fresh });
      void look(id);
    },
    remove: (id) => {
      const entry = entries.get(id);
      if (!entry) return;
      entries.delete(id);
      const { queue } = entry.keys;
      if (![...entries.values()].some((other) => other.keys.queue === queue)) wake.forget(queue);
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
