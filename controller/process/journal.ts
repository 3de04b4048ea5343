/**
 * `controller/process/`: the process itself: takes flags, a state folder and the lease, and returns the pools that are to be
 * left out because a controller died at them. It does not know what is done for a pool.
 *
 * Records the work in progress where it outlives the process: a process that is killed (out of memory, an endless loop) reports
 * nothing, and the next one needs the pool that it was working on.
 *
 * Slots of a fixed size, in memory and, if there is a state folder, in a file there: the first slot holds the pool of
 * synchronous work (`during`), the others those of work that has begun and not ended (`begin`). A slot is written before the
 * work begins, with one write into the page cache, which takes some µs. The file lives as long as the pod, as its folder is an
 * `emptyDir`; its consequences are stored elsewhere (crash-backoff.ts).
 */
import { closeSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Watchdog } from './watchdog.ts';

export interface Journal extends Disposable {
  /**
   * Pools that the previous process worked on when it crashed, only one if the work was synchronous; empty if it did not crash.
   */
  readonly left: readonly string[];
  /** Runs synchronous work for a pool. `seen`: it processes nothing but what earlier work did, so the watchdog is not needed. */
  during<T>(pool: string, work: () => T, input?: 'seen'): T;
  /** Records that work on the pool is in progress, until the returned function is called. */
  begin(pool: string): () => void;
  /** The work in progress, to be read by `poolsIn`. */
  readonly slots: Buffer;
  /** For a regular end of the process: removes the file. */
  [Symbol.dispose](): void;
}

/** For callers that embed the controller in a process of their own. */
export const noJournal: Pick<Journal, 'begin' | 'during'> = {
  during: (_, work) => work(),
  begin: () => () => {},
};

/** The names of a namespace and a pool, and a slash between them. */
const SLOT_BYTES = 512;
const SLOTS = 128;
const FILE = 'journal';

/**
 * Begins an empty journal; `folder` is for the file, `undefined` for none. `watchdog` runs synchronous work. Throws if the file
 * cannot be written.
 */
export function openJournal(folder: string | undefined, watchdog?: Watchdog): Journal {
  const path = folder === undefined ? undefined : join(folder, FILE);
  const left = path === undefined ? [] : leftIn(path);
  const file = path === undefined ? undefined : openSync(path, 'w');
  const memory = Buffer.alloc(SLOTS * SLOT_BYTES);
  const free = Array.from({ length: SLOTS - 1 }, (_, i) => i + 1);

  function write(slot: number, pool: string): void {
    const at = slot * SLOT_BYTES;
    const end = at + Math.min(memory.write(pool, at, SLOT_BYTES - 1), SLOT_BYTES - 1);
    memory[end] = 0;
    if (file !== undefined) writeSync(file, memory, at, end + 1 - at, at);
  }

  return {
    left,
    slots: memory,
    during: (pool, work, input) => {
      write(0, pool);
      try {
        return watchdog && input !== 'seen' ? watchdog.watch(pool, work) : work();
      } finally {
        write(0, '');
      }
    },
    begin: (pool) => {
      // all slots are in use: not recorded
      const slot = free.pop();
      if (slot === undefined) return () => {};
      write(slot, pool);
      return () => {
        write(slot, '');
        free.push(slot);
      };
    },
    [Symbol.dispose]: () => {
      if (file === undefined || path === undefined) return;
      closeSync(file);
      unlinkSync(path);
    },
  };
}

/** The pool of the first slot or, if that is empty, the distinct pools of all others. */
export function poolsIn(slots: Buffer): string[] {
  const names: string[] = [];
  for (let at = 0; at + 1 < slots.length; at += SLOT_BYTES) {
    const slot = slots.subarray(at, at + SLOT_BYTES);
    const end = slot.indexOf(0);
    const name = slot.toString('utf8', 0, end < 0 ? slot.length : end);
    if (name === '') continue;
    if (at === 0) return [name];
    names.push(name);
  }
  return [...new Set(names)];
}

function leftIn(path: string): string[] {
  try {
    return poolsIn(readFileSync(path));
  } catch {
    return [];
  }
}
