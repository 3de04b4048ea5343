/** `millrace result`: waits for a task's result and prints it unchanged. */
import type { Queue } from '../../queue/queue.ts';
import { systemClock } from '../../runtime/clock.ts';
import { printable, visible } from '../../runtime/plain-text.ts';
import { withQueues } from '../access/access.ts';
import type { AccessFlags } from '../access/access-flags.ts';

/** Interval of progress lines: people do not read faster, ms. */
const PROGRESS_EVERY_MS = 500;

export interface ResultFlags extends AccessFlags {
  /** ms. */
  readonly timeout?: number;
  /** Print the task's progress to stderr meanwhile. */
  readonly progress?: true;
}

export async function printResult(id: string, flags: ResultFlags): Promise<void> {
  const wait = async (queues: readonly Queue[]): Promise<void> => {
    const limit = flags.timeout === undefined ? {} : { timeoutMs: flags.timeout };
    const waiting = new AbortController();
    const telling = flags.progress ? tellProgress(queues, id, waiting.signal) : undefined;
    const { signal } = waiting;
    // all queues of a pool share one hash for results, but each has its own dead letters
    const waits = queues.map((queue) => queue.result(id, { as: 'bytes', signal, ...limit }));
    try {
      writeResult(await Promise.race(waits));
    } finally {
      waiting.abort();
      await Promise.allSettled([telling, ...waits]);
    }
  };
  await withQueues(flags, wait, { results: true });
}

/** Prints a line of JSON for each new progress report, until `signal` aborts. */
async function tellProgress(queues: readonly Queue[], id: string, signal: AbortSignal): Promise<void> {
  let told: string | undefined;
  while (!signal.aborted) {
    // the wait for the result reports errors
    const asked = queues.map((queue) => queue.progress(id).catch(() => undefined));
    const value = (await Promise.all(asked)).find((one) => one !== undefined);
    const line = value === undefined ? undefined : JSON.stringify(value);
    if (line !== undefined && line !== told) process.stderr.write(`${printable(line)}\n`);
    told = line ?? told;
    await systemClock.sleep(PROGRESS_EVERY_MS, signal);
  }
}

/** Byte for byte, so that a file equals the value in the hash; a terminal gets text, with a final line feed. */
export function writeResult(value: Buffer): void {
  if (!process.stdout.isTTY) process.stdout.write(value);
  else process.stdout.write(visible(value.toString()).replace(/(?<!\n)$/, '\n'));
}
