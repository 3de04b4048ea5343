/**
 * Keeps in Redis what pools have learned: read once when a leader first looks at a pool, written at most every WRITE_MS
 * and at the end of leading. Only the leader writes. One that lost its lease without noticing may put back what is a few
 * seconds older; the next write takes its place.
 *
 * A memory is worth a little, a decision more: nobody waits long for it, and what cannot be read or written is done without.
 */
import { isDeepStrictEqual } from 'node:util';
import { within } from '../../queue/connection/connection.ts';
import { readCut } from '../../queue/scripts/read.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Memory } from '../decide/decision.ts';
import { noJournal, type Journal } from '../process/journal.ts';
import { MEMORY_BYTES, packMemory, unpackMemory } from './memory.ts';
import type { QueueLink } from '../sample/sampler.ts';

export interface MemoryStore {
  /**
   * The memory to go on with: `memory`, or what an earlier leader left when this is the first look at the pool or at other
   * queues than before. Never rejects. `now` is of the clock that memories are on; `wall` counts from the epoch.
   */
  recall(pool: string, link: QueueLink, memory: Memory, now: number, wall?: number): Promise<Memory>;
  /** Writes `memory` in the background if it is new and its time has come. */
  keep(pool: string, link: QueueLink, memory: Memory, now: number, wall?: number): void;
  /** The pool is gone, or going. */
  forget(pool: string): void;
  /** Writes what was not written yet. Never rejects. */
  flush(): Promise<void>;
}

interface Entry {
  link: QueueLink;
  recalled: boolean;
  latest: Memory | undefined;
  written: Memory | undefined;
  writtenAt: number;
  /** By how much the wall clock is ahead of that of `latest`, ms. */
  aheadMs: number;
}

const WRITE_MS = 10_000;
const ANSWER_TIMEOUT_MS = 1_000;
/** Nobody may be left to remove it: the pool was deleted while Redis was away. */
const EXPIRY_S = 90 * 24 * 3_600;

/** `journal` is told while what was kept is unpacked. */
export function createMemoryStore(log: Logger, journal: Pick<Journal, 'during'> = noJournal): MemoryStore {
  const entries = new Map<string, Entry>();

  async function write(pool: string, entry: Entry): Promise<void> {
    const { link, latest } = entry;
    const [first] = link.queues;
    const text = latest && packMemory(latest, namesOf(link), entry.aheadMs);
    if (!first || text === undefined) return;
    try {
      const writing = link.sampler.redis.set(first.memory(pool), text, 'EX', EXPIRY_S);
      await within(ANSWER_TIMEOUT_MS, writing, 'SET');
      entry.written = latest;
    } catch (error) {
      log.debug({ pool, err: error }, 'what a pool learned could not be written');
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
      const [first] = link.queues;
      if (!first) return unlearned;
      try {
        const cut = { bytes: MEMORY_BYTES + 1, values: 1 };
        const reading = readCut(link.sampler.redis, first.memory(pool), cut, 'GET');
        const found = await within(ANSWER_TIMEOUT_MS, reading, 'GET');
        entry.recalled = true;
        const kept = Buffer.isBuffer(found)
          ? journal.during(pool, () => unpackMemory(found.toString(), namesOf(link), now, wall))
          : undefined;
        if (!kept) return unlearned;
        entry.written = kept;
        entry.writtenAt = now;
        return kept;
      } catch (error) {
        log.debug({ pool, err: error }, 'what a pool learned could not be read yet');
        return unlearned;
      }
    },
    keep: (pool, link, memory, now, wall = now) => {
      const entry = entries.get(pool);
      if (!entry?.recalled || !sameQueues(entry.link, link)) return;
      // a pool that was paused has forgotten it
      entry.recalled = memory.learned !== undefined;
      entry.latest = memory;
      entry.aheadMs = wall - now;
      if (now - entry.writtenAt < WRITE_MS || !isNews(entry)) return;
      entry.writtenAt = now;
      void write(pool, entry);
    },
    forget: (pool) => void entries.delete(pool),
    flush: async () => {
      const unwritten = [...entries].filter(([, entry]) => isNews(entry));
      await Promise.all(unwritten.map(([pool, entry]) => write(pool, entry)));
    },
  };
}

/** A queue in which nothing happens teaches nothing: thousands of idle pools are not written all the time. */
function isNews({ latest, written }: Entry): boolean {
  if (!latest?.learned) return false;
  const essence = ({ learned }: Memory): unknown =>
    // quarters of an hour without tasks are a part of the pattern
    learned && [learned.counters, learned.ready, learned.held, learned.start, learned.forecast?.bin.from];
  return !written || !isDeepStrictEqual(essence(latest), essence(written));
}

function namesOf({ queues }: QueueLink): string[] {
  return queues.map(({ queue }) => queue);
}

function sameQueues(a: QueueLink, b: QueueLink): boolean {
  return a.sampler === b.sampler && isDeepStrictEqual(namesOf(a), namesOf(b));
}
