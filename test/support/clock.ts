/** A wall clock of its own for a server under test, which can be stepped while it runs: `test/fixtures/clock.c`, preloaded. */
import { execFile } from 'node:child_process';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface SteppedClock {
  /** What the server's process needs in its environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Sets the server's wall clock to the host's plus `offsetMs`. It applies at the server's next read of the clock. */
  set(offsetMs: number): void;
}

const SOURCE = join(import.meta.dirname, '../fixtures/clock.c');

/** Compiles the clock into `dir`. Throws when there is no C compiler. */
export async function createSteppedClock(dir: string): Promise<SteppedClock> {
  const library = join(dir, 'clock.so');
  const file = join(dir, 'clock-offset');
  await promisify(execFile)('cc', ['-shared', '-fPIC', '-O2', '-o', library, SOURCE]);
  const offset = Buffer.alloc(8);
  writeFileSync(file, offset);
  return {
    env: { LD_PRELOAD: library, CLOCK_OFFSET_FILE: file },
    set: (offsetMs) => {
      offset.writeBigInt64LE(BigInt(offsetMs));
      // in place: the server has mapped this very file
      const open = openSync(file, 'r+');
      writeSync(open, offset, 0, offset.length, 0);
      closeSync(open);
    },
  };
}
