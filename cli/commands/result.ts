/** `millrace result`: waits for a task's result and prints it as it is. */
import type { Queue } from '../../queue/queue.ts';
import { systemClock } from '../../runtime/clock.ts';
import { printable, visible } from '../../runtime/plain-text.ts';
import { withQueues } from '../access/access.ts';
import type { AccessFlags } from '../access/access-flags.ts';

/** People do not read faster, ms. */
const PROGRESS_EVERY_MS = 500;

export interface ResultFlags extends AccessFlags {
  /** ms. */
  readonly timeout?: number;
  /** Tell meanwhile how far the task is, on stderr. */
  readonly progress?: true;
}

export async function printResult(id: string, flags: ResultFlags): Promise<void> {
  await withQueues(flags, async (queues) => {
    const limit = flags.timeout === undefined ? {} : { timeoutMs: flags.timeout };
    const waiting = new AbortController();
    const telling = flags.progress ? tellProgress(queues, id, waiting.signal) : undefined;
    const { signal } = waiting;
    // all queues of a pool have one hash for results, and each its own for what failed
    const waits = queues.map((queue) => queue.result(id, { as: 'bytes', signal, ...limit }));
    try {
      writeResult(await Promise.race(waits));
    } finally {
      waiting.abort();
      await Promise.allSettled([telling, ...waits]);
    }
  });
}

/** A line of JSON for each report that differs from the one before, until `signal` aborts. */
async function tellProgress(queues: readonly Queue[], id: string, signal: AbortSignal): Promise<void> {
  let told: string | undefined;
  while (!signal.aborted) {
    // the wait for the result says what is wrong
    const asked = queues.map((queue) => queue.progress(id).catch(() => undefined));
    const value = (await Promise.all(asked)).find((one) => one !== undefined);
    const line = value === undefined ? undefined : JSON.stringify(value);
    if (line !== undefined && line !== told) process.stderr.write(`${printable(line)}\n`);
    told = line ?? told;
    await systemClock.sleep(PROGRESS_EVERY_MS, signal);
  }
}

/** Byte for byte, so that a file gets what the hash holds; a terminal gets text, with a line feed at its end. */
export function writeResult(value: Buffer): void {
  if (!process.stdout.isTTY) process.stdout.write(value);
  else process.stdout.write(visible(value.toString()).replace(/(?<!\n)$/, '\n'));
}
