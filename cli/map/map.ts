/**
 * `cli/map/` takes lines and returns their results. Only `place.ts` knows where they run.
 *
 * `millrace map`: each line of the input is a task; the results are printed in the order of the lines. On this machine, with a Redis and
 * workers that are there for it alone, or by the workers of a queue or a pool.
 */
import { createReadStream, fstat } from 'node:fs';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { TaskFailed } from '../../queue/queue.ts';
import { onSignals } from '../../runtime/lifecycle.ts';
import { printable } from '../../runtime/plain-text.ts';
import { UsageError } from '../../runtime/program.ts';
import { checkOneHandler, type HandlerFlags } from '../../worker/flags/handler-flags.ts';
import { withQueue } from '../access/access.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import type { CommandLog } from '../terminal/command-log.ts';
import { outputFailed } from '../terminal/output.ts';
import { progressOn, type Progress } from '../terminal/progress.ts';
import { rawLineBatches } from '../commands/line-batches.ts';
import { openJournal, type Journal } from './journal.ts';
import { mapLines, type Done, type Line } from './lines.ts';
import { checkWhere, createMapTasks, startLocalPool, type LocalMapFlags, type MapTasks } from './place.ts';

export interface MapFlags extends LocalMapFlags, AccessFlags {
  /** The input; stdin by default. */
  readonly file?: string;
  /** Tasks end with a NUL instead of a line feed. */
  readonly null?: true;
  readonly unordered?: true;
  /** The file of the results so far. */
  readonly resume?: string;
  readonly failFast?: true;
  readonly install?: true;
}

/** Throws when a line failed, after the results of all. */
export async function map(flags: MapFlags, env: NodeJS.ProcessEnv, log: CommandLog): Promise<void> {
  const local = isLocal(flags);
  using signals = onSignals();
  await using journal = flags.resume === undefined ? undefined : await openJournal(flags.resume);
  await using input = await openInput(flags);
  using progress = progressOn(process.stderr, env['TERM'])('lines', await input.count(), 'rate');
  const broken = new AbortController();
  const signal = AbortSignal.any([signals.stopping, broken.signal]);
  const run = { flags, input, journal, progress, signal };
  try {
    if (local) {
      await using pool = await startLocalPool({
        flags,
        env,
        install: flags.install ? 'yes' : 'ask',
        log,
        say: (text) => progress.say(printable(text).trimEnd()),
        onBroken: (why) => broken.abort(new Error(why)),
      });
      await mapOver(createMapTasks(pool.queue, pool.remove), run);
    } else
      await withQueue(
        flags,
        async (queue) => {
          const tasks = createMapTasks(queue);
          try {
            await mapOver(tasks, run);
          } catch (error) {
            // nobody is there any more to take their results
            if (!broken.signal.aborted) await tasks.cancel();
            throw error;
          }
        },
        { writes: true },
      );
  } catch (error) {
    if (outputFailed()) return;
    if (!signals.stopping.aborted) throw error;
    throw new Error(interrupted(flags, journal), { cause: error });
  }
}

/** Whether the lines run on this machine. Throws `UsageError` for contradictory flags. */
function isLocal(flags: MapFlags): boolean {
  const handlers: (keyof HandlerFlags)[] = ['module', 'python', 'command', 'http'];
  const elsewhere = flags.pool !== undefined || flags.redisNamed || flags.given.includes('queue');
  const local = handlers.some((name) => flags.given.includes(name));
  if (!local && !elsewhere)
    throw new UsageError(
      'nothing to run the lines with: give code, such as --command ./compute, or a pool that has workers, with --pool',
    );
  if (local) checkOneHandler(flags);
  checkWhere(local, flags.given);
  return local;
}

interface Run {
  readonly flags: MapFlags;
  readonly input: Input;
  readonly journal: Journal | undefined;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

async function mapOver(tasks: MapTasks, { flags, input, journal, progress, signal }: Run): Promise<void> {
  let failed = 0;
  let ended = 0;
  const outcomes = mapLines({
    lines: input.lines(signal),
    ordered: !flags.unordered,
    recall: async (line) => await journal?.recall(line),
    begin: tasks.begin,
    signal,
  });
  for await (const batch of outcomes) {
    await journal?.add(batch);
    await print(batch);
    await tasks.forget(batch);
    for (const { line, outcome } of batch) {
      if (Buffer.isBuffer(outcome)) continue;
      failed++;
      progress.say(`line ${line.number} failed: ${printable(reasonOf(outcome)).trim()}`);
    }
    ended += batch.length;
    progress.add(batch.length);
    if (failed > 0 && flags.failFast)
      throw new Error(`a line failed, so the others were given up after ${ended} (--fail-fast)`);
  }
  if (failed > 0)
    throw new Error(
      `${failed} of ${ended} ${ended === 1 ? 'line' : 'lines'} failed${journal ? ': the same command runs them again' : ''}`,
    );
}

function reasonOf(error: Error): string {
  return error instanceof TaskFailed ? error.reason : error.message;
}

const NEWLINE = 0x0a;

/** Each result ends with a line feed, its own or one that is added; that of a failed line is an empty line. */
async function print(batch: readonly Done[]): Promise<void> {
  const pieces = batch.flatMap(({ outcome }) => {
    const value = Buffer.isBuffer(outcome) ? outcome : Buffer.alloc(0);
    return value.at(-1) === NEWLINE ? [value] : [value, Buffer.of(NEWLINE)];
  });
  if (!process.stdout.write(Buffer.concat(pieces))) await once(process.stdout, 'drain');
}

function interrupted({ resume }: MapFlags, journal: Journal | undefined): string {
  if (!journal) return 'interrupted: with --resume <file>, the same command would continue';
  return `interrupted: ${journal.size} ${journal.size === 1 ? 'result is' : 'results are'} in ${resume}, and the same command continues`;
}

interface Input extends AsyncDisposable {
  /** Lines that are not empty, if the input is a file that can be read twice. */
  count(this: void): Promise<number | undefined>;
  /** Those lines. Ends with the reason when the signal aborts. */
  lines(this: void, signal: AbortSignal): AsyncIterable<readonly Line[]>;
}

/** Opens the file or stdin. Throws `UsageError` if the file cannot be read. */
async function openInput({ file, null: nul }: MapFlags): Promise<Input> {
  const end = nul ? '\0' : '\n';
  const path = file === undefined || file === '-' ? undefined : file;
  const about = await promisify(fstat)(0).catch(() => undefined);
  const opened = path === undefined ? undefined : createReadStream(path);
  if (opened)
    await once(opened, 'open').catch((error: unknown) => {
      throw new UsageError(`the input cannot be read: ${(error as Error).message}`, { cause: error });
    });
  const again = async (): Promise<AsyncIterable<Buffer> | undefined> => {
    // a pipe gives its lines once, also one that has a name, such as that of <(command)
    if (path !== undefined) return (await stat(path)).isFile() ? createReadStream(path) : undefined;
    // read by position, so that what reads it afterwards begins where it stands
    return about?.isFile() ? createReadStream('', { fd: 0, start: 0, autoClose: false }) : undefined;
  };
  const stream = opened ?? process.stdin;
  return {
    count: async () => {
      const input = await again();
      if (!input) return undefined;
      let count = 0;
      for await (const lines of rawLineBatches(input, end))
        for (const line of lines) if (line.length > 0) count++;
      return count;
    },
    lines: async function* (signal) {
      const stop = (): void => void stream.destroy(signal.reason as Error);
      signal.addEventListener('abort', stop, { once: true });
      let number = 0;
      for await (const batch of rawLineBatches(stream, end)) {
        const numbered = batch.map((bytes): Line => ({ number: ++number, bytes }));
        yield numbered.filter(({ bytes }) => bytes.length > 0);
      }
      signal.removeEventListener('abort', stop);
    },
    [Symbol.asyncDispose]: () => {
      stream.destroy();
      return Promise.resolve();
    },
  };
}
