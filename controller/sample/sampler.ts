/**
 * `controller/sample/` takes the queues of one Redis, listens to them and returns a sample, or why there is none. It knows
 * nothing of replicas or Kubernetes.
 *
 * Samples the queues of one Redis server for all pools on it. Queues where something happens are sampled every
 * `pollMs`, many in one pipelined round trip; idle ones only when the wake reports a change, and every `safetyMs` anyway,
 * staggered evenly. What was woken is read immediately, everything else in batches (batches.ts), so that ten thousand
 * pools that are due do not hold up the one that was woken.
 * A sample that failed says why; it is never a zero. It connects in the background and never gives up.
 */
import { isDeepStrictEqual } from 'node:util';
import { addressName, closeRedis, within, type RedisAddress } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import type { Source } from '../../queue/sources/source.ts';
import { formatDuration } from '../../runtime/duration.ts';
import type { Logger } from '../../runtime/log.ts';
import { interval } from '../../runtime/timers.ts';
import { watchEviction } from './eviction.ts';
import { createTimers } from './timers.ts';
import { connectSampler } from './connection.ts';
import { createQueueUsers } from './queue-users.ts';
import { readFromSource, readQueues, sweepAll, type QueuesRead } from './read.ts';
import { takeSource, touchSource } from './source-entry.ts';
import { armSource, forgetSource } from './source-wake.ts';
import { countVain, isOften, isQuiet, isVain, newEntry, nextEventAt, take, type Entry } from './entry.ts';
import { notYet, type Sampled } from './sampled.ts';
import { nextAt } from './stagger.ts';
import { createBatches } from './batches.ts';
import { createWake, type Wake, type WakeMode } from './wake.ts';

export interface Sampler extends AsyncDisposable {
  /**
   * Begins to sample queues for `id`, or, where there is one, a source instead of them; `onSample` is called after each sample.
   * Calling it again changes both.
   */
  add(id: string, queues: readonly QueueKeys[], source?: Source): void;
  remove(id: string): void;
  latest(id: string): Sampled;
  /**
   * Whether something happens at `id`: then it is sampled often. Delayed tasks that fall due within `horizonMs` count as due
   * soon, and the sampler reads the queues when the first of them does.
   */
  setActive(id: string, active: boolean, horizonMs: number): void;
  readonly wakeMode: WakeMode;
  /** How often a source is read that no wake reports, ms. */
  readonly pollMs: number;
  /** Why the server may lose tasks by itself, human-readable; `undefined` when it may not. */
  readonly evictionRisk: string | undefined;
  /** For infrequent operations: recovery, clean-up. */
  readonly redisOf: RedisOf;
}

/** Where a pool's queues are sampled. */
export interface QueueLink {
  readonly sampler: Sampler;
  readonly queues: readonly QueueKeys[];
  /** Whose tasks these are, where it is another library; then nothing is in the queues, beside which records are kept. */
  readonly source?: Source | undefined;
}

/** How the pool notices what comes into its queues, for status: of a source, also how often, where nothing reports that. */
export function wakeOf({ sampler: { wakeMode, pollMs }, source }: QueueLink): string {
  if (!source || wakeMode === 'Tracking') return wakeMode;
  return `Polling every ${formatDuration(pollMs)}`;
}

export interface SamplerOptions {
  readonly address: RedisAddress;
  /** Called when a read of `id`'s queues begins; the returned function is called when it has ended. */
  readonly onRead?: (id: string) => () => void;
  /** `woken`: something came into a queue that was idle. */
  readonly onSample: (id: string, woken: boolean) => void;
  readonly log: Logger;
  readonly pollMs?: number;
  readonly safetyMs?: number;
  readonly evictionMs?: number;
  readonly wakeMode?: WakeMode;
}

/** The first task may be the first of many: after a wake, the queues are read again after this delay. */
const BURST_MS = 100;
/** The first read waits no longer for the wake to be set up. */
const LISTEN_TIMEOUT_MS = 1_000;

export function createSampler(options: SamplerOptions): Sampler {
  const { address, onSample, onRead, log, pollMs = 1_000, safetyMs = 30_000 } = options;
  const server = addressName(address);
  const entries = new Map<string, Entry>();
  const users = createQueueUsers();
  const others = createBatches({ run: read });
  const timers = createTimers((id) => void read(id));
  const { redis, attempted, explain } = connectSampler(address, log);
  const reading = { redis, log, explain };
  const readAll = (): void => others.add(entries.keys());
  redis.on('ready', readAll);
  const eviction = watchEviction(redis, log, readAll, options.evictionMs);
  const wake = createWake({
    address,
    log,
    ...(options.wakeMode ? { mode: options.wakeMode } : {}),
    onWake: (queue) => {
      if (queue === undefined) {
        for (const { source } of entries.values()) touchSource(source);
        return readAll();
      }
      for (const id of users.of(queue)) {
        const entry = entries.get(id);
        touchSource(entry?.source);
        if (!entry) continue;
        if (isVain(entry)) {
          // the next poll reads it
          entry.ignored = true;
          continue;
        }
        if (isQuiet(entry)) entry.wokenAt ??= performance.now();
        entry.woken = true;
        void read(id);
      }
    },
  });
  const listening = within(LISTEN_TIMEOUT_MS, wake.settled, 'the wake').catch(() => {});
  const timer = interval(pollMs, poll);

  function poll(): void {
    const now = performance.now();
    const due: string[] = [];
    for (const [id, entry] of entries) {
      const deaf = wake.mode === 'Polling' || (entry.source !== undefined && wake.mode !== 'Tracking');
      const often = deaf || isOften(entry, now);
      const eventAt = nextEventAt(entry);
      if (now >= (often ? entry.readAt + 0.9 * pollMs : entry.safetyAt)) due.push(id);
      else if (eventAt > now && eventAt <= now + pollMs) timers.set(id, eventAt - now);
    }
    others.add(due);
  }

  /** Never rejects. */
  async function read(id: string): Promise<void> {
    const entry = entries.get(id);
    if (entry?.reading) entry.readAgain = true;
    if (!entry || entry.reading) return;
    entry.reading = true;
    others.drop(id);
    // otherwise the first sample of each would report that there is no wake
    await (redis.status === 'ready' ? listening : attempted());
    entry.readAt = performance.now();
    entry.safetyAt = nextAt(id, entry.readAt, safetyMs);
    const { woken } = entry;
    entry.woken = false;
    const ended = onRead?.(id);
    const { source, queues, horizonMs } = entry;
    const found = await (source
      ? readFromSource(reading, source.source, queues, horizonMs)
      : readQueues(reading, queues, horizonMs));
    ended?.();
    entry.reading = false;
    if (entries.get(id) === entry) await readDone(id, entry, found, woken);
  }

  async function readDone(id: string, entry: Entry, found: QueuesRead, woken: boolean): Promise<void> {
    const { sampled: before } = entry;
    const sampledNow = entry.source
      ? takeSource(entry.source, found, { readAt: entry.readAt, before })
      : found.sampled;
    take(entry, { ...found, sampled: sampledNow }, server, performance.now());
    countVain(entry, woken, before);
    onSample(id, woken);
    if (woken && !isVain(entry)) timers.set(id, BURST_MS);
    const { sampled } = found;
    if (sampled.kind === 'known' && sampled.sample.overdue) void sweepOnce(entry);
    // a queue that wakes in vain is armed by the read that comes with the next poll
    const again =
      entry.readAgain ||
      (!(woken && isVain(entry)) &&
        (await (entry.source ? armSource(wake, id, entry, entry.source, users) : armQuiet(wake, entry))));
    entry.readAgain = false;
    if (again) void read(id);
  }

  /** One at a time, in the background. Never rejects. */
  async function sweepOnce(entry: Entry): Promise<void> {
    if (entry.sweeping) return;
    entry.sweeping = true;
    await sweepAll(reading, entry.queues);
    entry.sweeping = false;
  }

  /** Stops listening to queues that are no longer sampled. */
  function setQueues(id: string, queues: readonly QueueKeys[]): void {
    forgetSource(id, entries.get(id)?.source, users);
    for (const keys of users.change(id, entries.get(id)?.queues ?? [], queues)) wake.forget(keys);
  }

  return {
    redisOf: () => redis,
    pollMs,
    get wakeMode() {
      return wake.mode;
    },
    get evictionRisk() {
      return eviction.risk;
    },
    add: (id, queues, source) => {
      const before = entries.get(id);
      if (before && before.source?.source === source && sameQueues(before.queues, queues)) return;
      setQueues(id, queues);
      entries.set(id, newEntry(queues, source));
      others.add([id]);
    },
    remove: (id) => {
      setQueues(id, []);
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
      timers[Symbol.dispose]();
      entries.clear();
      await Promise.all([wake[Symbol.asyncDispose](), closeRedis(redis)]);
    },
  };
}

/** Arms the wake of idle queues. `true` if something arrived in the meantime, which no wake reports. */
async function armQuiet(wake: Wake, entry: Entry): Promise<boolean> {
  const { sampled, quiet } = entry;
  if (sampled.kind !== 'known' || sampled.sample.runnable.waiting > 0) return false;
  const isWhole = isQuiet(entry);
  try {
    const found = await Promise.all(quiet.map((keys) => wake.arm(keys)));
    if (found.some((armed) => (armed?.waiting ?? 0) > 0)) return true;
    const delayed = found.reduce((sum, armed) => sum + (armed?.delayed ?? 0), 0);
    return isWhole && delayed > sampled.sample.delayed;
  } catch {
    return false; // the connection was lost: everything is armed again when it is back
  }
}

function sameQueues(before: readonly QueueKeys[], now: readonly QueueKeys[]): boolean {
  const names = ({ queue, result }: QueueKeys): string => JSON.stringify([queue, result]);
  return before === now || isDeepStrictEqual(before.map(names), now.map(names));
}
