/** `millrace dead list`: what failed for good, and why. */
import type { QueueFlags } from '../queue/flags.ts';
import { withQueue } from './client.ts';
import { oneLine, table } from './table.ts';

export interface ListDeadFlags extends QueueFlags {
  readonly count: number;
  readonly output: 'table' | 'json';
}

export async function listDead(flags: ListDeadFlags): Promise<void> {
  await withQueue(flags, async (queue) => {
    const letters = await queue.dead(flags.count);
    if (flags.output === 'json') {
      // a task may be any bytes: where it is not text, `raw` is base64 and says so
      const entries = letters.map(({ raw, ...letter }) => ({ ...letter, ...textOrBase64(raw) }));
      process.stdout.write(`${JSON.stringify(entries, undefined, 2)}\n`);
      return;
    }
    const rows = letters.map(({ at, attempts, worker, raw, error }) => [
      new Date(at).toISOString().replace(/\.\d+Z$/, 'Z'),
      attempts,
      worker,
      oneLine(raw.toString(), 60),
      oneLine(error, 200),
    ]);
    process.stdout.write(table(['WHEN', 'ATTEMPTS', 'WORKER', 'TASK', 'ERROR'], rows));
  });
}

function textOrBase64(raw: Buffer): { task: string } | { taskBase64: string } {
  const text = raw.toString();
  return Buffer.from(text).equals(raw) ? { task: text } : { taskBase64: raw.toString('base64') };
}
