/** `millrace enqueue`: one task from the command line, or one per line of stdin or a file, pushed as they are read. */
import { shortId } from '../../queue/task.ts';
import { type EnqueueOptions, type Priority, type Queue, type TaskId } from '../../queue/queue.ts';
import { stampText } from '../../queue/tracing.ts';
import type { Trace } from '../../runtime/opentelemetry.ts';
import { failurePrefix } from '../../runtime/failure-line.ts';
import { UsageError } from '../../runtime/program.ts';
import { plural } from '../../runtime/plural.ts';
import { withQueue } from '../access/access.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import type { ShowProgress } from '../terminal/progress.ts';
import { lineBatches, openLines } from './line-batches.ts';
import { writeResult } from './result.ts';

export interface EnqueueFlags {
  readonly stdin?: boolean;
  readonly file?: string;
  /** ms. */
  readonly delay?: number;
  /** ms since the epoch. */
  readonly at?: number;
  /** ms. */
  readonly expiresIn?: number;
  /** ms since the epoch. */
  readonly expiresAt?: number;
  readonly unique?: string;
  /** ms. */
  readonly uniqueFor?: number;
  readonly priority?: Priority;
  readonly wait?: boolean;
  /** ms. */
  readonly timeout?: number;
}

/**
 * Prints the tasks' ids, or with `wait` their results, in the order of the tasks, several as one per line. `trace`: the trace
 * context of the shell, for tasks that can carry it.
 */
export async function enqueue(
  task: string | undefined,
  flags: EnqueueFlags & AccessFlags,
  trace: Trace | undefined,
  showProgress: ShowProgress,
): Promise<void> {
  checkUsage(task, flags);
  const fromStdin = flags.stdin === true || task === '-';
  const stamp = (raw: Buffer): Buffer => (trace ? stampText(raw, trace) : raw);
  const when: EnqueueOptions = {
    ...(flags.delay === undefined ? {} : { delayMs: flags.delay }),
    ...(flags.at === undefined ? {} : { at: new Date(flags.at) }),
    ...(flags.expiresIn === undefined ? {} : { expiresInMs: flags.expiresIn }),
    ...(flags.expiresAt === undefined ? {} : { expiresAt: new Date(flags.expiresAt) }),
    ...(flags.unique === undefined ? {} : { unique: flags.unique }),
    ...(flags.uniqueFor === undefined ? {} : { uniqueForMs: flags.uniqueFor }),
    ...(flags.priority === undefined ? {} : { priority: flags.priority }),
  };
  const source = flags.file === undefined ? undefined : await openLines(flags.file, 'tasks');
  const push = async (queue: Queue): Promise<void> => {
    if (!fromStdin && !source) {
      const { id, duplicate } = await queue.enqueueUnique(stamp(Buffer.from(task ?? '')), when);
      if (duplicate) process.stderr.write(`not pushed: task ${shortId(id)} has the key\n`);
      if (flags.wait) writeResult(await waitFor(queue, id, flags));
      else writeIds([id]);
      return;
    }
    const awaited: (string | Buffer)[] = [];
    {
      using pushing = showProgress('enqueued', source?.bytes);
      let pushed = 0;
      using _unfinished = reportEarlyExit(() => pushed);
      for await (const lines of lineBatches(source?.stream ?? process.stdin)) {
        const ids = await queue.enqueueMany(lines.map(stamp), when);
        pushed += ids.length;
        if (flags.wait) awaited.push(...ids);
        else writeIds(ids);
        pushing.add(source ? lines.reduce((sum, line) => sum + line.length + 1, 0) : lines.length);
      }
    }
    using waiting = showProgress('results', awaited.length);
    for (const id of awaited) {
      process.stdout.write(Buffer.concat([await waitFor(queue, id, flags), Buffer.from('\n')]));
      waiting.add(1);
    }
  };
  await withQueue(flags, push, { results: true, writes: true });
}

/** The process exits where the reader of its output closes it, as `head` does: until all tasks are pushed, that is a failure. */
function reportEarlyExit(pushed: () => number): Disposable {
  const report = (): void => {
    process.exitCode = 1;
    process.stderr.write(
      `${failurePrefix('millrace')}its output was closed after ${plural(pushed(), 'task was', 'tasks were')} enqueued: the rest was not; send it to a file, or to /dev/null\n`,
    );
  };
  process.once('exit', report);
  return { [Symbol.dispose]: () => void process.off('exit', report) };
}

/** One per line; for a task that is not text, its bytes. */
function writeIds(ids: readonly TaskId[]): void {
  const lines = ids.flatMap((id) => [typeof id === 'string' ? Buffer.from(id) : id, Buffer.from('\n')]);
  process.stdout.write(Buffer.concat(lines));
}

function checkUsage(task: string | undefined, flags: EnqueueFlags): void {
  const given = [task === '-' ? undefined : task, flags.stdin || task === '-' || undefined, flags.file];
  const sources = given.filter((one) => one !== undefined).length;
  if (sources > 1)
    throw new UsageError(
      'tasks are given in more than one way: choose one of an argument, --stdin and --file',
    );
  if (sources === 0)
    throw new UsageError(
      'no task is given: pass it as the argument, or one per line of stdin with --stdin, or of a file with --file',
    );
  if (flags.timeout !== undefined && !flags.wait)
    throw new UsageError('--timeout is for --wait: add --wait, or omit --timeout');
  if (flags.delay !== undefined && flags.at !== undefined)
    throw new UsageError('both --delay and --at are given: choose one');
  if (flags.expiresIn !== undefined && flags.expiresAt !== undefined)
    throw new UsageError('both --expires-in and --expires-at are given: choose one');
  if (flags.expiresAt !== undefined && flags.expiresAt <= Date.now())
    throw new UsageError(
      `--expires-at is ${new Date(flags.expiresAt).toISOString()}, which is over: name a time that is to come`,
    );
  if (flags.uniqueFor !== undefined && flags.unique === undefined)
    throw new UsageError('--unique-for is for --unique: name the key');
  if (flags.unique !== undefined && (task === undefined || task === '-'))
    throw new UsageError(
      '--unique is for one task, the argument: of many, name the key in each, as {"millrace":{"unique":"…"}}',
    );
}

function waitFor(queue: Queue, id: string | Buffer, { timeout }: EnqueueFlags): Promise<Buffer> {
  return queue.result(id, { as: 'bytes', ...(timeout === undefined ? {} : { timeoutMs: timeout }) });
}
