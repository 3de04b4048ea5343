/**
 * `controller/sample/` takes the queues of one Redis, listens to them and returns a sample, or why there is none. It knows
 * nothing of replicas or Kubernetes.
 *
 * Samples the queues of one Redis server for all pools on it. Queues where something happens are sampled every
 * `pollMs`, many in one pipelined round trip; idle ones only when the wake says so, and every `safetyMs` anyway, spread evenly
 * over that time. What the wake says is looked at at once, everything else in portions (batches.ts), so that ten thousand
 * pools that are looked at do not hold up the one that was woken.
 * A sample that failed says why; it is never a zero. Connects in the background and for ever.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Redis } from 'ioredis';
import { openBounded } from '../../queue/connection/untrusted.ts';
import {
  addressName,
  closeRedis,
  describeRedisError,
  within,
  type RedisAddress,
} from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import type { Logger } from '../../runtime/log.ts';
import { interval } from '../../runtime/timers.ts';
import { watchEviction } from './eviction.ts';
import { createAlarms } from './timers.ts';
import { blindnessOf, lookAt, sweepAll, type Blindness } from './read.ts';
import { countVain, isOften, isQuiet, isVain, momentOf, newEntry, take, type Entry } from './entry.ts';
import { notYet, type Sampled } from './sampled.ts';
import { nextTurn } from './stagger.ts';
import { createTrickle } from './batches.ts';
import { createWake, type WakeMode } from './wake.ts';

export interface Sampler extends AsyncDisposable {
  /** Begins to sample queues for `id`; `onSample` is called after each sample. Calling it again changes the queues. */
  add(id: string, queues: readonly QueueKeys[]): void;
  remove(id: string): void;
  latest(id: string): Sampled;
  /**
   * Whether something happens at `id`: then it is sampled often. Delayed tasks that fall due within `horizonMs` count as due
   * soon, and the sampler looks in the moment when the first of them does.
   */
  setActive(id: string, active: boolean, horizonMs: number): void;
  readonly wakeMode: WakeMode;
  /** Why the server may lose tasks by itself, in words; `undefined` when it does not. */
  readonly evictionRisk: string | undefined;
  /** For what is done rarely: recovery, clean-up. */
  readonly redis: Redis;
}

/** Where a pool's queues are sampled. */
export interface QueueLink {
  readonly sampler: Sampler;
  readonly queues: readonly QueueKeys[];
}

export interface SamplerOptions {
  readonly address: RedisAddress;
  /** A look begins; what it returns is called when that has ended. */
  readonly onLook?: (id: string) => () => void;
  /** `woken`: something came into a queue that was idle. */
  readonly onSample: (id: string, woken: boolean) => void;
  readonly log: Logger;
  readonly pollMs?: number;
  readonly safetyMs?: number;
  readonly evictionMs?: number;
  readonly wakeMode?: WakeMode;
}

const CONNECT_MS = 5_000;
/** What comes first may be the first of many: whoever was woken looks again so soon. */
const BURST_MS = 100;
const TELL_AGAIN_MS = 60_000;
/** Nobody waits longer for the wake to be there. */
const LISTEN_MS = 1_000;

export function createSampler(options: SamplerOptions): Sampler {
  const { address, onSample, onLook, log, pollMs = 1_000, safetyMs = 30_000 } = options;
  const server = addressName(address);
  const entries = new Map<string, Entry>();
  /** By queue, who samples it. */
  const users = new Map<string, Set<string>>();
  const others = createTrickle({ run: look });
  const alarms = createAlarms((id) => void look(id));
  let lastError: Error | undefined;
  /** The first attempt to connect has ended, well or not. */
  const tried = Promise.withResolvers<void>();
  // all commands of one tick travel in one write
  const redis = defineScripts(
    openBounded(address, {
      enableAutoPipelining: true,
      enableOfflineQueue: false,
      onError: (error) => {
        lastError = error;
        tried.resolve();
      },
    }),
  );
  const lookAll = (): void => others.add(entries.keys());
  let toldAt = -Infinity;
  /** What the server itself said goes to the log, now and then, and not where everybody reads it who chose the address. */
  function explain(error: unknown): Blindness {
    const cause = redis.status === 'ready' ? error : (lastError ?? error);
    const shown = blindnessOf(cause, address);
    const whole = describeRedisError(cause, address);
    if (whole !== shown.why && performance.now() - toldAt > TELL_AGAIN_MS) {
      toldAt = performance.now();
      log.warn({ redis: server, error: whole }, 'a Redis refuses what it is asked');
      log.debug({ redis: server, err: cause }, 'what a Redis refused');
    }
    return shown;
  }
  const looking = { redis, log, explain };
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
      if (queue === undefined) return lookAll();
      for (const id of users.get(queue) ?? []) {
        const entry = entries.get(id);
        // it is looked at soon in any case
        if (!entry || isVain(entry)) continue;
        if (isQuiet(entry)) entry.wokenAt ??= performance.now();
        entry.woken = true;
        void look(id);
      }
    },
  });
  const listening = within(LISTEN_MS, wake.settled, 'the wake').catch(() => {});
  const timer = interval(pollMs, poll);

  function poll(): void {
    const now = performance.now();
    const due: string[] = [];
    for (const [id, entry] of entries) {
      const often = wake.mode === 'Polling' || isOften(entry, now);
      if (now >= (often ? entry.lastLook + 0.9 * pollMs : entry.safetyAt)) due.push(id);
      else if (momentOf(entry) > now && momentOf(entry) <= now + pollMs)
        alarms.set(id, momentOf(entry) - now);
    }
    others.add(due);
  }

  /** Never rejects. */
  async function look(id: string): Promise<void> {
    const entry = entries.get(id);
    if (entry?.looking) entry.lookAgain = true;
    if (!entry || entry.looking) return;
    entry.looking = true;
    others.drop(id);
    // or the first look at each would say that nobody can be woken
    if (redis.status === 'ready') await listening;
    else await within(CONNECT_MS, tried.promise, 'the connection').catch(() => {});
    entry.lastLook = performance.now();
    entry.safetyAt = nextTurn(id, entry.lastLook, safetyMs);
    const { woken } = entry;
    entry.woken = false;
    const ended = onLook?.(id);
    const looked = await lookAt(looking, entry.queues, entry.horizonMs);
    ended?.();
    entry.looking = false;
    if (entries.get(id) !== entry) return;
    const before = entry.sampled;
    take(entry, looked, server, performance.now());
    countVain(entry, woken, before);
    onSample(id, woken);
    if (woken) alarms.set(id, isVain(entry) ? pollMs : BURST_MS);
    const { sampled } = looked;
    if (sampled.kind === 'known' && sampled.sample.overdue) void sweepOnce(entry);
    // what is vain is armed by the look that comes with the next poll
    const again = entry.lookAgain || (!(woken && isVain(entry)) && (await listen(entry)));
    entry.lookAgain = false;
    if (again) void look(id);
  }

  /** One at a time. Nobody waits for it, and it never rejects. */
  async function sweepOnce(entry: Entry): Promise<void> {
    if (entry.sweeping) return;
    entry.sweeping = true;
    await sweepAll(looking, entry.queues);
    entry.sweeping = false;
  }

  /** `id` samples these queues from now on, and no others. Queues that nobody samples any more are not listened to. */
  function setUsed(id: string, queues: readonly QueueKeys[]): void {
    for (const keys of entries.get(id)?.queues ?? []) {
      const rest = users.get(keys.queue);
      rest?.delete(id);
      if (rest?.size === 0 && users.delete(keys.queue) && !queues.some(({ queue }) => queue === keys.queue))
        wake.forget(keys);
    }
    for (const { queue } of queues) {
      const all = users.get(queue);
      if (all) all.add(id);
      else users.set(queue, new Set([id]));
    }
  }

  /** Arms the wake of idle queues. `true` when something came in the meantime: nothing else would tell of that. */
  async function listen(entry: Entry): Promise<boolean> {
    const { sampled, quiet } = entry;
    if (sampled.kind !== 'known' || sampled.sample.runnable.waiting > 0) return false;
    const isWhole = isQuiet(entry);
    try {
      const found = await Promise.all(quiet.map((keys) => wake.arm(keys)));
      if (found.some((armed) => (armed?.waiting ?? 0) > 0)) return true;
      const delayed = found.reduce((sum, armed) => sum + (armed?.delayed ?? 0), 0);
      return isWhole && delayed > sampled.sample.delayed;
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
      if (entry?.queues === queues) return;
      if (entry && isDeepStrictEqual(entry.queues.map(names), queues.map(names))) return;
      setUsed(id, queues);
      entries.set(id, newEntry(queues));
      others.add([id]);
    },
    remove: (id) => {
      setUsed(id, []);
      entries.delete(id);
      others.drop(id);
    },
    latest: (id) => entries.get(id)?.sampled ?? notYet,
    setActive: (id, active, horizonMs) => {
      const entry = entries.get(id);
      if (entry) Object.assign(entry, { active, horizonMs });
    },
    [Symbol.asyncDispose]: async () => {
      timer.clear();
      eviction[Symbol.dispose]();
      others[Symbol.dispose]();
      alarms[Symbol.dispose]();
      entries.clear();
      await Promise.all([wake[Symbol.asyncDispose](), closeRedis(redis)]);
    },
  };
}
