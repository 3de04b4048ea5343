/**
 * `controller/process/`: the process itself: takes flags, a state folder and the lease, and returns the pools that are to be
 * left out because a controller died at them. It does not know what is done for a pool.
 *
 * What this process is doing right now, where it outlives the process: a killed one (out of memory, a loop that never ends) says
 * nothing any more, and the next one wants to know which pool it was at.
 *
 * Slots of a fixed size, in memory, and in a file of the state folder, if there is one: the first
 * holds the pool of what runs without a pause (`during`), the others those that were begun and not ended (`begin`). A slot is
 * written before the work begins, with one write into the page cache, some µs. The file lives as long as the pod, as its folder is
 * an `emptyDir`; what follows of it goes further (crash-backoff.ts).
 */
import { closeSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Watchdog } from './watchdog.ts';

export interface Journal extends Disposable {
  /** What the process before this one was at when it ended without a word. Of a single pool, it was that one; empty if none. */
  readonly left: readonly string[];
  /** Runs `work` as a piece that does not wait for anything. */
  during<T>(pool: string, work: () => T): T;
  /** Until the function that is returned is called, the pool is being looked at, decided or written of. */
  begin(pool: string): () => void;
  /** What is being done now, as `poolsIn` reads it. */
  readonly slots: Buffer;
  /** The process ends as it should: nothing is left of it. */
  [Symbol.dispose](): void;
}

/** For those who run the controller in a process of their own. */
export const noJournal: Pick<Journal, 'begin' | 'during'> = {
  during: (_, work) => work(),
  begin: () => () => {},
};

/** A namespace's and a pool's name, and what is between them. */
const SLOT_BYTES = 512;
const SLOTS = 128;
const FILE = 'journal';

/**
 * Begins anew; `folder` is where the file is, `undefined` for none. `watchdog` runs what does not wait for anything. Throws when the
 * file cannot be written.
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
    during: (pool, work) => {
      write(0, pool);
      try {
        return watchdog ? watchdog.watch(pool, work) : work();
      } finally {
        write(0, '');
      }
    },
    begin: (pool) => {
      // more at a time than there are slots: those are not told
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

/** The pool of the first slot, or else those of all others, each once. */
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
