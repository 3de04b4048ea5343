/**
 * Which tasks a process of the Python package has begun (`python/src/millrace/worker/begun.py`): a page of memory that it writes the number
 * of each task to, and that is read when it has died. What it had not begun goes back to the queue without an attempt.
 *
 * Nothing is sent for it, because a message for each task would cost as much as a small function. A file that is in no folder any more is the
 * memory that a process can share with one of Node.js.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A task has the slot of its number modulo this. With more tasks at a time, some count as begun that are not. */
const SLOTS = 1_024;
const HALF_OF_ALL_NUMBERS = 0x8000_0000;

/** Disposing it closes the file on this side. */
export interface BegunTasks extends Disposable {
  /** What the process is given, to be mapped. */
  readonly descriptor: number;
  /** Reads which have begun, as a function of their numbers. */
  read(): (number: number) => boolean;
}

/** `undefined` where no file can be written. */
export function openBegunTasks(): BegunTasks | undefined {
  // the first one is memory, and can be written in containers whose root cannot
  for (const folder of ['/dev/shm', tmpdir()]) {
    const descriptor = openUnnamed(folder);
    if (descriptor === undefined) continue;
    return {
      descriptor,
      read: () => {
        const slots = new Uint32Array(SLOTS);
        readSync(descriptor, slots, 0, slots.byteLength, 0);
        return (number) => hasBegun(slots[number % SLOTS] ?? 0, number);
      },
      [Symbol.dispose]: () => closeSync(descriptor),
    };
  }
  return undefined;
}

/** Numbers start over. A later task in the slot began after this one. */
function hasBegun(slot: number, number: number): boolean {
  return slot !== 0 && (slot - number) >>> 0 < HALF_OF_ALL_NUMBERS;
}

function openUnnamed(folder: string): number | undefined {
  const path = join(folder, `millrace-${randomUUID()}`);
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
    // a process that maps a page for which there is no room would die of it
    writeSync(descriptor, new Uint32Array(SLOTS));
    return descriptor;
  } catch {
    if (descriptor !== undefined) closeSync(descriptor);
    return undefined;
  }
}
