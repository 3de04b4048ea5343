/** `millrace cancel`: marks tasks, so that they are not run, or aborted if they are running. */
import type { Queue } from '../../queue/queue.ts';
import { withQueues } from '../access/access.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import { oneLine } from '../terminal/table.ts';

/** Prints the outcome for each id, one per line. In a pool of several queues a task may be in any of them, so it is marked in each. */
export async function cancel(ids: readonly string[], flags: AccessFlags): Promise<void> {
  const mark = async (queues: readonly Queue[]): Promise<void> => {
    for (const id of ids) {
      const found = await Promise.all(queues.map((queue) => queue.cancel(id)));
      process.stdout.write(`${oneLine(id, 100)}: ${found.includes('finished') ? 'finished' : 'marked'}\n`);
    }
  };
  await withQueues(flags, mark, { results: true, writes: true });
}
