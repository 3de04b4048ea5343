/** `millrace result`: waits for a task's result and prints it as it is. */
import type { QueueFlags } from '../queue/flags.ts';
import type { Queue } from '../queue/queue.ts';
import { systemClock } from '../runtime/clock.ts';
import { withQueue } from './client.ts';

/** People do not read faster, ms. */
const PROGRESS_EVERY_MS = 500;

export interface ResultFlags extends QueueFlags {
  /** ms. */
  readonly timeout?: number;
  /** Tell meanwhile how far the task is, on stderr. */
  readonly progress?: true;
}

export async function printResult(id: string, flags: ResultFlags): Promise<void> {
  await withQueue(flags, async (queue) => {
    const limit = flags.timeout === undefined ? {} : { timeoutMs: flags.timeout };
    const waiting = new AbortController();
    const telling = flags.progress ? tellProgress(queue, id, waiting.signal) : undefined;
    try {
      writeResult(await queue.result(id, { as: 'bytes', ...limit }));
    } finally {
      waiting.abort();
      await telling;
    }
  });
}

/** A line of JSON for each report that differs from the one before, until `signal` aborts. */
async function tellProgress(queue: Queue, id: string, signal: AbortSignal): Promise<void> {
  let told: string | undefined;
  while (!signal.aborted) {
    const value = await queue.progress(id).catch(() => undefined); // the wait for the result says what is wrong
    const line = value === undefined ? undefined : JSON.stringify(value);
    if (line !== undefined && line !== told) process.stderr.write(`${line}\n`);
    told = line ?? told;
    await systemClock.sleep(PROGRESS_EVERY_MS, signal);
  }
}

/** Byte for byte, so that a file gets what the hash holds; only a terminal gets a line feed where there is none. */
export function writeResult(value: Buffer): void {
  process.stdout.write(value);
  if (process.stdout.isTTY && value.at(-1) !== 0x0a) process.stdout.write('\n');
}
