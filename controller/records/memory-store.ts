/**
 * Stores the memories of pools in Redis: read once when a leader first reconciles a pool, written at most every WRITE_MS and when
 * leadership ends. Only the leader writes. One that lost its lease without noticing may overwrite it with a state that is a few
 * seconds older; the next write corrects that.
 *
 * Decisions matter more than memories: reads and writes have short timeouts, and if one fails, decisions are made without.
 */
import { isDeepStrictEqual } from 'node:util';
import { within } from '../../queue/connection/connection.ts';
import { readCut } from '../../queue/scripts/read.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Memory } from '../decide/decision.ts';
import { noJournal, type Journal } from '../process/journal.ts';
import { MEMORY_BYTES, packMemory, unpackMemory } from './memory.ts';
import { recordKeysOf, type QueueLink } from '../sample/sampler.ts';

export interface MemoryStore {
  /**
   * The memory to continue with: `memory`, or that of an earlier leader if this is the first call for the pool or for other
   * queues than before. Never rejects. `now` is by the clock that memories use; `wall` is in ms since the epoch.
   */
  recall(pool: string, link: QueueLink, memory: Memory, now: number, wall?: number): Promise<Memory>;
  /** Writes `memory` in the background if it has changed and the interval has passed. */
  keep(pool: string, link: QueueLink, memory: Memory, now: number, wall?: number): void;
  /** The pool is deleted, or being deleted. */
  forget(pool: string): void;
  /** Writes all unwritten changes. Never rejects. */
  flush(): Promise<void>;
}

interface StoredMemory {
  link: QueueLink;
  recalled: boolean;
  latest: Memory | undefined;
  /** The essence of what was written last. */
  written: Essence | undefined;
  writtenAt: number;
  /** By how much the wall clock is ahead of that of `latest`, ms. */
  aheadMs: number;
}

const WRITE_MS = 10_000;
const ANSWER_TIMEOUT_MS = 1_000;
/** In case the key is never removed: the pool was deleted while Redis was down. */
const EXPIRY_S = 90 * 24 * 3_600;

/** `journal` records the unpacking of a memory. */
export function createMemoryStore(log: Logger, journal: Pick<Journal, 'during'> = noJournal): MemoryStore {
  const entries = new Map<string, StoredMemory>();

  async function write(pool: string, entry: StoredMemory): Promise<void> {
    const { link, latest } = entry;
    const keys = recordKeysOf(link);
    const text = latest && packMemory(latest, namesOf(link), entry.aheadMs);
    if (text === undefined) return;
    try {
      const writing = link.sampler.redisOf(keys).set(keys.memory(pool), text, 'EX', EXPIRY_S);
      await within(ANSWER_TIMEOUT_MS, writing, 'SET');
      entry.written = latest && essenceOf(latest);
    } catch (error) {
      log.debug({ pool, err: error }, 'failed to write the memory of a pool');
    }
  }

  return {
    recall: async (pool, link, memory, now, wall = now) => {
      let entry = entries.get(pool);
      if (!entry || !sameQueues(entry.link, link)) {
        const fresh = { latest: undefined, written: undefined, writtenAt: -Infinity, aheadMs: 0 };
        entry = { link, recalled: false, ...fresh };
        entries.set(pool, entry);
      }
      if (entry.recalled) return memory;
      // counters of another queue would look like a burst
      const unlearned = { ...memory, learned: undefined };
      const keys = recordKeysOf(link);
      try {
        const cut = { bytes: MEMORY_BYTES + 1, values: 1 };
        const reading = readCut(link.sampler.redisOf(keys), keys.memory(pool), cut, 'GET');
        const found = await within(ANSWER_TIMEOUT_MS, reading, 'GET');
        entry.recalled = true;
        const kept = Buffer.isBuffer(found)
          ? journal.during(pool, () => unpackMemory(found.toString(), namesOf(link), now, wall))
          : undefined;
        if (!kept) return unlearned;
        entry.written = essenceOf(kept);
        entry.writtenAt = now;
        return kept;
      } catch (error) {
        log.debug({ pool, err: error }, 'failed to read the memory of a pool; retrying');
        return unlearned;
      }
    },
    keep: (pool, link, memory, now, wall = now) => {
      const entry = entries.get(pool);
      if (!entry?.recalled || !sameQueues(entry.link, link)) return;
      // a pause discards what was learned: it is read again after that
      entry.recalled = memory.learned !== undefined;
      entry.latest = memory;
      entry.aheadMs = wall - now;
      if (now - entry.writtenAt < WRITE_MS || !hasChanged(entry)) return;
      entry.writtenAt = now;
      void write(pool, entry);
    },
    forget: (pool) => void entries.delete(pool),
    flush: async () => {
      const unwritten = [...entries].filter(([, entry]) => hasChanged(entry));
      await Promise.all(unwritten.map(([pool, entry]) => write(pool, entry)));
    },
  };
}

/** Nothing is learned from an idle queue, so that thousands of idle pools are not written all the time. */
function hasChanged({ latest, written }: StoredMemory): boolean {
  if (!latest?.learned) return false;
  return !written || !isDeepStrictEqual(essenceOf(latest), written);
}

type Essence = readonly unknown[];

/** What is worth a write when it changes. */
function essenceOf({ learned }: Memory): Essence | undefined {
  // quarters of an hour without tasks are a part of the pattern
  return (
    learned && [learned.counters, learned.ready, learned.held, learned.start, learned.forecast?.bin.from]
  );
}

/** Of a queue in partitions its name alone: its memory outlives a change of their number. */
function namesOf({ records, queues }: QueueLink): string[] {
  return records ? [records.queue] : queues.map(({ queue }) => queue);
}

function sameQueues(a: QueueLink, b: QueueLink): boolean {
  return a.sampler === b.sampler && isDeepStrictEqual(namesOf(a), namesOf(b));
}
