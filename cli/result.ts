/** `millrace result`: waits for a task's result and prints it as it is. */
import type { QueueFlags } from '../queue/flags.ts';
import { withQueue } from './client.ts';

export async function printResult(
  id: string,
  flags: QueueFlags & { readonly timeout?: number },
): Promise<void> {
  await withQueue(flags, async (queue) => {
    const limit = flags.timeout === undefined ? {} : { timeoutMs: flags.timeout };
    writeResult(await queue.result(id, { as: 'bytes', ...limit }));
  });
}

/** Byte for byte, so that a file gets what the hash holds; only a terminal gets a line feed where there is none. */
export function writeResult(value: Buffer): void {
  process.stdout.write(value);
  if (process.stdout.isTTY && value.at(-1) !== 0x0a) process.stdout.write('\n');
}
