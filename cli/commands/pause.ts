/** `millrace pause` and `millrace resume`. */
import { withQueues } from '../access/access.ts';
import type { AccessFlags } from '../access/access-flags.ts';

export async function pause(flags: AccessFlags & { readonly reason?: string | undefined }): Promise<void> {
  await withQueues(
    flags,
    async (queues) => {
      for (const queue of queues) {
        await queue.pause(flags.reason);
        process.stdout.write(`${queue.keys.queue} is paused\n`);
      }
    },
    { writes: true },
  );
}

export async function resume(flags: AccessFlags): Promise<void> {
  await withQueues(
    flags,
    async (queues) => {
      for (const queue of queues) {
        const was = await queue.resume();
        process.stdout.write(`${queue.keys.queue} ${was ? 'is resumed' : 'was not paused'}\n`);
      }
    },
    { writes: true },
  );
}
