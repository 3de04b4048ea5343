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
import { addressName, type RedisAddress } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import type { Source } from '../../queue/sources/source.ts';
import { formatDuration } from '../../runtime/duration.ts';
import type { Logger } from '../../runtime/log.ts';
import { interval } from '../../runtime/timers.ts';
import { createClusterWake } from './cluster-wake.ts';
import { createEvictionWatches } from './eviction.ts';
import { createTimers, type Timers } from './timers.ts';
import { connectSampler, type SamplerConnection } from './connection.ts';
import { createQueueUsers, type QueueUsers } from './queue-users.ts';
import { createReader } from './reader.ts';
import { touchSource } from './source-entry.ts';
import { forgetSource } from './source-wake.ts';
import { isOften, isQuiet, isVain, newEntry, nextEventAt, type Entry } from './entry.ts';
import { notYet, type Sampled } from './sampled.ts';
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
  /** Another one for another Redis: a digest of its address. Credentials are no part of it. */
  readonly place?: string;
  /** The numbers of partitions whose lists these are; only of a pool that has, or is leaving, partitions. */
  readonly partitions?: readonly number[] | undefined;
  /** The priorities whose lists are among these; only of a pool that has, or is leaving, some. */
  readonly levels?: readonly string[] | undefined;
  /** Beside which the pool's records are kept, if not beside the first queue: of partitions, the list without a number; of priorities, the queue. */
  readonly records?: QueueKeys | undefined;
  /** Whose tasks these are, where it is another library; then nothing is in the queues, beside which records are kept. */
  readonly source?: Source | undefined;
}

/** Which lists of its queue a pool reads now: other ones have other all-time counters. `undefined` for the plain one, and for several queues. */
export function listsOf({
  partitions,
  levels,
}: Pick<QueueLink, 'partitions' | 'levels'>): string | undefined {
  return (partitions ?? levels)?.join(',');
}

/** The queue beside which the pool's records are kept, whatever the number of its partitions. */
export function recordKeysOf({ records, queues }: Pick<QueueLink, 'records' | 'queues'>): QueueKeys {
  const [first] = queues;
  const keys = records ?? first;
  if (!keys) throw new RangeError('a pool has at least one queue');
  return keys;
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

const POLL_MS = 1_000;

export function createSampler(options: SamplerOptions): Sampler {
  const { address, onSample, onRead, log, pollMs = POLL_MS, safetyMs = 30_000 } = options;
  const entries = new Map<string, Entry>();
  const users = createQueueUsers();
  const batches = createBatches({ run: (id) => read(id) });
  const timers = createTimers((id) => void read(id));
  const readAll = (): void => batches.add(entries.keys());
  const evictions = createEvictionWatches({ log, onChange: readAll, everyMs: options.evictionMs });
  const connection = connectSampler({
    address,
    log,
    onOpen: (redis) => {
      redis.on('ready', readAll);
      evictions.watch(redis);
    },
    onMoved: (queues) => moved(queues),
  });
  const { redisOf, attempted, explain } = connection;
  const { wake, moved } = openWake(options, connection, (queue) => {
    if (queue !== undefined) return wakeUsers({ users, entries, read }, queue);
    for (const { source } of entries.values()) touchSource(source);
    readAll();
  });
  const read = createReader({
    server: addressName(address),
    entries,
    users,
    wake,
    reading: { redisOf, log, explain },
    attempted,
    batches,
    timers,
    safetyMs,
    onRead,
    onSample,
  });
  const timer = interval(pollMs, () => batches.add(dueOf({ entries, wake, timers, pollMs })));

  /** Stops listening to queues that are no longer sampled. */
  function setQueues(id: string, queues: readonly QueueKeys[]): void {
    forgetSource(id, entries.get(id)?.source, users);
    for (const keys of users.change(id, entries.get(id)?.queues ?? [], queues)) {
      wake.forget(keys);
      connection.forget(keys);
    }
  }

  return {
    redisOf,
    pollMs,
    get wakeMode() {
      return wake.mode;
    },
    get evictionRisk() {
      return evictions.risk;
    },
    add: (id, queues, source) => {
      const before = entries.get(id);
      if (before && before.source?.source === source && sameQueues(before.queues, queues)) return;
      setQueues(id, queues);
      entries.set(id, newEntry(queues, source));
      batches.add([id]);
    },
    remove: (id) => {
      setQueues(id, []);
      entries.delete(id);
      batches.drop(id);
    },
    latest: (id) => entries.get(id)?.sampled ?? notYet,
    setActive: (id, active, horizonMs) => {
      const entry = entries.get(id);
      if (entry) Object.assign(entry, { active, horizonMs });
    },
    [Symbol.asyncDispose]: async () => {
      timer.clear();
      evictions[Symbol.dispose]();
      batches[Symbol.dispose]();
      timers[Symbol.dispose]();
      entries.clear();
      await Promise.all([wake[Symbol.asyncDispose](), connection[Symbol.asyncDispose]()]);
    },
  };
}

/** `moved`: these queues are on another primary of their cluster now. */
function openWake(
  { address, log, wakeMode, pollMs = POLL_MS }: SamplerOptions,
  { links, redisOf }: SamplerConnection,
  onWake: (queue: string | undefined) => void,
): { readonly wake: Wake; readonly moved: (queues: readonly string[]) => void } {
  const own = { address, log, ...(wakeMode ? { mode: wakeMode } : {}), onWake };
  if (!links) return { wake: createWake(own), moved: () => undefined };
  const wake = createClusterWake({ ...own, links, redisOf, pollMs });
  return { wake, moved: wake.moved };
}

/** Reads a queue that changed, for each id that samples it. */
function wakeUsers(
  {
    users,
    entries,
    read,
  }: {
    readonly users: QueueUsers;
    readonly entries: ReadonlyMap<string, Entry>;
    readonly read: (id: string) => Promise<void>;
  },
  queue: string,
): void {
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
}

interface PollInput {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly wake: Pick<Wake, 'mode'>;
  readonly timers: Timers;
  readonly pollMs: number;
}

/** The ids to be read with this poll. Sets timers for what happens by itself before the next one. */
function dueOf({ entries, wake, timers, pollMs }: PollInput): string[] {
  const now = performance.now();
  const due: string[] = [];
  for (const [id, entry] of entries) {
    const deaf = wake.mode === 'Polling' || (entry.source !== undefined && wake.mode !== 'Tracking');
    const often = deaf || isOften(entry, now);
    const eventAt = nextEventAt(entry);
    if (now >= (often ? entry.readAt + 0.9 * pollMs : entry.safetyAt)) due.push(id);
    else if (eventAt > now && eventAt <= now + pollMs) timers.set(id, eventAt - now);
  }
  return due;
}

function sameQueues(before: readonly QueueKeys[], now: readonly QueueKeys[]): boolean {
  const names = ({ queue, result }: QueueKeys): string => JSON.stringify([queue, result]);
  return before === now || isDeepStrictEqual(before.map(names), now.map(names));
}
