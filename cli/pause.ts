/** `millrace pause` and `millrace resume`. */
import type { QueueFlags } from '../queue/flags.ts';
import { withQueue } from './client.ts';

export async function pause(flags: QueueFlags & { readonly reason: string }): Promise<void> {
  await withQueue(flags, (queue) => queue.pause(flags.reason));
  process.stdout.write(`${flags.queue} is paused\n`);
}

export async function resume(flags: QueueFlags): Promise<void> {
  const was = await withQueue(flags, (queue) => queue.resume());
  process.stdout.write(was ? `${flags.queue} goes on\n` : `${flags.queue} was not paused\n`);
}
