/**
 * The thread behind watchdog.ts. It counts its own looks at which nothing had moved, and not the time: a process that was frozen as a
 * whole, or a machine that slept, is not taken for one that hangs. SIGABRT, as an exit from a thread ends only the thread, and the
 * code that it leaves (134) is none of a kill from outside.
 */
import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { interval } from '../runtime/timers.ts';
import { poolsIn } from './journal.ts';
import type { WatchdogData } from './watchdog.ts';

const STDERR = 2;
const { beats, journal, looks, everyMs, name } = workerData as WatchdogData;
let last = -1;
let still = 0;

function look(): void {
  const beat = Atomics.load(beats, 0);
  still = beat === last ? still + 1 : 0;
  last = beat;
  if (still < looks) return;
  const pools = poolsIn(Buffer.from(journal));
  const line = {
    level: 'fatal',
    time: new Date().toISOString(),
    name,
    pools,
    msg: `the event loop has stood still for ${(looks * everyMs) / 1_000} s; ending, to be started again`,
  };
  writeSync(STDERR, `${JSON.stringify(line)}\n`);
  process.kill(process.pid, 'SIGABRT');
}

interval(everyMs, look);
