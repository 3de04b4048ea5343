/** `millrace cancel`: marks tasks, so that they are not run, or are aborted where they run. */
import type { QueueFlags } from '../queue/flags.ts';
import { withQueue } from './client.ts';
import { oneLine } from './table.ts';

/** Prints a line for each id: what was found. */
export async function cancel(ids: readonly string[], flags: QueueFlags): Promise<void> {
  await withQueue(flags, async (queue) => {
    for (const id of ids) process.stdout.write(`${oneLine(id, 100)}: ${await queue.cancel(id)}\n`);
  });
}
