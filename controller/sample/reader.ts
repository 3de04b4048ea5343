/**
 * Reads what is sampled for one id at a time: the queues, then the entry, then whether to read again. What the wake cannot report
 * (a change between the read and the moment from which it listens) is found by one more read.
 */
import { countVain, isQuiet, isVain, take, type Entry } from './entry.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { Batches } from './batches.ts';
import type { QueueUsers } from './queue-users.ts';
import { readFromSource, readQueues, sweepAll, type QueuesRead, type ReadOptions } from './read.ts';
import { takeSource } from './source-entry.ts';
import { armSource } from './source-wake.ts';
import { nextAt } from './stagger.ts';
import type { Timers } from './timers.ts';
import type { Wake } from './wake.ts';

export interface ReaderOptions {
  /** The name of the server. */
  readonly server: string;
  readonly entries: ReadonlyMap<string, Entry>;
  readonly users: QueueUsers;
  readonly wake: Wake;
  readonly reading: ReadOptions;
  /** Resolves when the first attempt to connect is over. */
  readonly attempted: (queues: readonly QueueKeys[]) => Promise<void>;
  /** Those that wait to be read in a batch. */
  readonly batches: Pick<Batches, 'drop'>;
  readonly timers: Timers;
  readonly safetyMs: number;
  readonly onRead: ((id: string) => () => void) | undefined;
  readonly onSample: (id: string, woken: boolean) => void;
}

/** The first task may be the first of many: after a wake, the queues are read again after this delay. */
const BURST_MS = 100;

/** Returns the function that reads an id; while it is being read, it is read once more afterwards. It never rejects. */
export function createReader(options: ReaderOptions): (id: string) => Promise<void> {
  const { entries, wake, reading, attempted, batches, safetyMs, onRead } = options;
  const isReady = ({ queues }: Entry): boolean =>
    queues.every((keys) => reading.redisOf(keys).status === 'ready');

  return async function read(id) {
    const entry = entries.get(id);
    if (entry?.reading) entry.readAgain = true;
    if (!entry || entry.reading) return;
    entry.reading = true;
    batches.drop(id);
    // otherwise the first sample of each would report that there is no wake
    await (isReady(entry) ? wake.listening(entry.queues) : attempted(entry.queues));
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
    if (entries.get(id) === entry && (await finishRead(options, id, entry, found, woken))) void read(id);
  };
}

/** Stores and reports what was read. Returns whether it is to be read again. */
async function finishRead(
  options: ReaderOptions,
  id: string,
  entry: Entry,
  found: QueuesRead,
  woken: boolean,
): Promise<boolean> {
  const { server, users, wake, reading, timers, onSample } = options;
  const { sampled: before } = entry;
  const sampledNow = entry.source
    ? takeSource(entry.source, found, { readAt: entry.readAt, before })
    : found.sampled;
  take(entry, { ...found, sampled: sampledNow }, server, performance.now());
  countVain(entry, woken, before);
  onSample(id, woken);
  if (woken && !isVain(entry)) timers.set(id, BURST_MS);
  const { sampled } = found;
  if (sampled.kind === 'known' && sampled.sample.overdue) void sweepOnce(reading, entry);
  const { readAgain } = entry;
  // a queue that wakes in vain is armed by the read that comes with the next poll
  const missed =
    !readAgain &&
    !(woken && isVain(entry)) &&
    (await (entry.source ? armSource(wake, id, entry, entry.source, users) : armQuiet(wake, entry)));
  // a task that came just before the wake was armed is as urgent as one that it reports
  if (missed && !entry.source) entry.woken = true;
  const again = missed || entry.readAgain;
  entry.readAgain = false;
  return again;
}

/** One at a time, in the background. Never rejects. */
async function sweepOnce(reading: ReadOptions, entry: Entry): Promise<void> {
  if (entry.sweeping) return;
  entry.sweeping = true;
  await sweepAll(reading, entry.queues);
  entry.sweeping = false;
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
