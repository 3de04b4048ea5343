/** `millrace enqueue`: one task from the command line, or one in each line of stdin, pushed as they come. */
import { parseTask, type Queue } from '../queue/queue.ts';
import { stampText } from '../queue/tracing.ts';
import type { Trace } from '../runtime/opentelemetry.ts';
import { UsageError } from '../runtime/program.ts';
import { withQueue } from './access.ts';
import type { AccessFlags } from './access-flags.ts';
import { writeResult } from './result.ts';

export interface EnqueueFlags {
  readonly stdin?: boolean;
  /** ms. */
  readonly delay?: number;
  readonly wait?: boolean;
  /** ms. */
  readonly timeout?: number;
}

/**
 * Prints the tasks' ids, or with `wait` their results, in the order of the tasks: one a line where there are many. `trace`:
 * the one that the shell is in, for tasks that can carry it.
 */
export async function enqueue(
  task: string | undefined,
  flags: EnqueueFlags & AccessFlags,
  trace: Trace | undefined,
): Promise<void> {
  const fromStdin = flags.stdin === true || task === '-';
  if (fromStdin && task !== undefined && task !== '-')
    throw new UsageError('a task is given, and --stdin as well: choose one');
  if (!fromStdin && task === undefined)
    throw new UsageError(
      'no task is given: write it behind enqueue, or one in each line of stdin with --stdin',
    );
  if (flags.timeout !== undefined && !flags.wait)
    throw new UsageError('--timeout is for --wait: add that, or leave it out');
  const stamp = (raw: Buffer): Buffer => (trace ? stampText(raw, trace) : raw);
  const when = flags.delay === undefined ? {} : { delayMs: flags.delay };
  await withQueue(flags, async (queue) => {
    if (!fromStdin) {
      const id = await queue.enqueue(stamp(Buffer.from(task ?? '')), when);
      if (flags.wait) writeResult(await waitFor(queue, id, flags));
      else process.stdout.write(`${id}\n`);
      return;
    }
    const awaited: (string | Buffer)[] = [];
    for await (const lines of lineBatches(process.stdin)) {
      const ids = await queue.enqueueMany(lines.map(stamp), when);
      if (flags.wait) awaited.push(...lines.map((line) => parseTask(line).id));
      else process.stdout.write(`${ids.join('\n')}\n`);
    }
    for (const id of awaited)
      process.stdout.write(Buffer.concat([await waitFor(queue, id, flags), Buffer.from('\n')]));
  });
}

function waitFor(queue: Queue, id: string | Buffer, { timeout }: EnqueueFlags): Promise<Buffer> {
  return queue.result(id, { as: 'bytes', ...(timeout === undefined ? {} : { timeoutMs: timeout }) });
}

const NEWLINE = 0x0a;

/** The lines of a stream of bytes, without line feeds and without empty ones, in batches as they come. */
export async function* lineBatches(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer[]> {
  let rest: Buffer[] = [];
  for await (const chunk of stream) {
    const lines: Buffer[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      lines.push(Buffer.concat([...rest, chunk.subarray(start, end)]));
      rest = [];
      start = end + 1;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
    const tasks = lines.filter((line) => line.length > 0);
    if (tasks.length > 0) yield tasks;
  }
  const last = Buffer.concat(rest);
  if (last.length > 0) yield [last];
}
