/**
 * A thread that notices when the event loop stands still: nothing is scaled then, for no pool, and nobody is told. After 10 s it says
 * at which pool that was, and ends the process, so that a standby takes over, or the container is started again. What the process was
 * at is in the journal (journal.ts), where the next one finds it.
 */
import { Worker } from 'node:worker_threads';
import { interval } from '../runtime/timers.ts';
import { entry } from './watchdog-entry.ts';

/** What the thread starts with. */
export interface WatchdogData {
  /** Counts up as long as the event loop goes round. */
  readonly beats: Int32Array;
  /** The slots of the journal. */
  readonly journal: SharedArrayBuffer;
  /** How many looks in a row find it standing still until it is given up, and how far they are apart, ms. */
  readonly looks: number;
  readonly everyMs: number;
  readonly name: string;
}

const LOOKS = 10;
const EVERY_MS = 1_000;

/** Watches until it is disposed of. */
export function watchEventLoop(journal: SharedArrayBuffer, name: string): AsyncDisposable {
  const beats = new Int32Array(new SharedArrayBuffer(4));
  const data: WatchdogData = { beats, journal, looks: LOOKS, everyMs: EVERY_MS, name };
  const thread = new Worker(entry.code, { eval: entry.eval, workerData: data });
  thread.unref();
  // without the thread the controller is as good as it was before there was one: a liveness probe ends it later
  thread.on('error', () => {});
  const timer = interval(EVERY_MS / 2, () => Atomics.add(beats, 0, 1)).unref();
  return {
    [Symbol.asyncDispose]: async () => {
      timer.clear();
      await thread.terminate();
    },
  };
}
