/**
 * One process of a program, with everything that it starts: it leads a process group of its own, and signals go to the group.
 * `exited` settles when the program has ended, its output has been read, and the group is empty. Processes that outlive the
 * program are killed after a moment: a task is over when its program is, and a stray process that keeps stdout open must not
 * occupy a slot for ever.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { timeout } from '../../runtime/timers.ts';
import { CommandError } from './errors.ts';
import type { Program } from './program.ts';
import { splitLines } from './split-lines.ts';
import type { Watcher } from '../../runtime/child-watchdog.ts';

/** Three pairs for the pipes, one that reports a failed exec, and some to spare. */
const DESCRIPTORS = 10;
const DESCRIPTORS_OF_CHANNEL = 2;
/** How long processes that outlive the program may still write its output, ms. */
const LINGER_MS = 250;

const PIPES = ['pipe', 'pipe', 'pipe'] as const;
/** The descriptors of the channel, and of the file. */
const CHANNEL = 3;
export const FILE = 4;

const STDERR_TAIL_BYTES = 2048;
const STDERR_LINE_BYTES = 16 * 1024;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProgramProcess {
  readonly pid: number;
  readonly stdin: ChildProcessWithoutNullStreams['stdin'];
  readonly stdout: ChildProcessWithoutNullStreams['stdout'];
  /** A socket to the program's descriptor 3, if one was asked for. */
  readonly channel: Socket | undefined;
  readonly exited: Promise<Exit>;
  /** True as soon as the program itself has ended, even if its output is still being read. */
  hasEnded(): boolean;
  /** SIGTERM to the group, SIGKILL after `graceMs`; resolves when it is gone. */
  terminate(graceMs: number): Promise<void>;
  /** Waits for its exit; after `waitMs`, it is terminated. Resolves when it is gone. */
  exitWithin(waitMs: number, graceMs: number): Promise<void>;
  /** SIGKILL to the group; `exited` settles when it is gone. */
  kill(): void;
  /** The end of what was written to stderr since the start, or since `forgetStderr`: about 2 KB, trimmed. */
  stderrTail(): string;
  forgetStderr(): void;
}

export interface ProgramProcessOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly watcher: Watcher;
  /** Receives stderr line by line. */
  readonly log: (line: string) => void;
  /** Gives the program a socket as descriptor 3. */
  readonly channel?: boolean;
  /** An open file that the program gets as descriptor 4, beside a channel. */
  readonly file?: number | undefined;
}

/** Throws `CommandError` when the system cannot start it (no memory, too many processes, file deleted). */
export async function startProgram(
  program: Program,
  options: ProgramProcessOptions,
): Promise<ProgramProcess> {
  const { child, pid } = await spawnGroup(program, options);
  options.watcher.add(pid);
  let gone = false;
  const signalGroup = (signal: NodeJS.Signals): void => {
    if (gone) return; // its number may be another group's by now
    try {
      process.kill(-pid, signal);
    } catch {
      // the group is empty
    }
  };

  let ended = false;
  child.once('exit', () => (ended = true));
  const exited = waitForGroup(child, signalGroup).finally(() => {
    gone = true;
    options.watcher.remove(pid);
  });

  let tail: Buffer = Buffer.alloc(0);
  const onLine = (line: Buffer): void => options.log(line.toString());
  const lines = splitLines(STDERR_LINE_BYTES, onLine, (start) => options.log(`${start.toString()}…`));
  child.stderr.on('data', (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk]).subarray(-STDERR_TAIL_BYTES);
    lines.push(chunk);
  });
  child.stderr.once('end', () => lines.end());
  const fourth = child.stdio[CHANNEL];
  const channel = fourth instanceof Socket ? fourth : undefined;
  for (const stream of [child.stdin, child.stdout, child.stderr, ...(channel ? [channel] : [])]) {
    // a program need not read its stdin, and may be killed while writing: what counts is its exit
    stream.on('error', () => undefined);
  }

  const terminate = async (graceMs: number): Promise<void> => {
    signalGroup('SIGTERM');
    const timer = timeout(graceMs, () => signalGroup('SIGKILL'));
    await exited.finally(() => timer.clear());
  };
  return {
    pid,
    stdin: child.stdin,
    stdout: child.stdout,
    channel,
    exited,
    hasEnded: () => ended,
    terminate,
    async exitWithin(waitMs, graceMs) {
      const timer = timeout(waitMs, () => void terminate(graceMs));
      await exited.finally(() => timer.clear());
    },
    kill: () => signalGroup('SIGKILL'),
    stderrTail: () => tail.toString().trim(),
    forgetStderr: () => (tail = Buffer.alloc(0)),
  };
}

/** Calls back when the signal aborts, or has already. The returned function ends that. */
export function onceAborted(signal: AbortSignal, abort: () => void): () => void {
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  return () => signal.removeEventListener('abort', abort);
}

/** `exit code 3` or `killed by SIGSEGV`. */
export function describeExit({ code, signal }: Exit): string {
  return signal === null ? `exit code ${code}` : `killed by ${signal}`;
}

async function spawnGroup(
  program: Program,
  options: ProgramProcessOptions,
): Promise<{ child: ChildProcessWithoutNullStreams; pid: number }> {
  const { file } = options;
  try {
    expectDescriptors(options.channel ? DESCRIPTORS + DESCRIPTORS_OF_CHANNEL : DESCRIPTORS);
    const child = spawn(program.file, program.args, {
      argv0: program.name,
      cwd: options.cwd,
      env: options.env,
      detached: true,
      stdio: [...PIPES, ...(options.channel ? ['pipe' as const] : []), ...(file === undefined ? [] : [file])],
    }) as ChildProcessWithoutNullStreams;
    const { pid } = child;
    if (pid !== undefined) return { child, pid };
    const [error] = await once(child, 'error');
    for (const stream of child.stdio ?? []) stream?.destroy();
    throw error;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CommandError(`cannot start ${program.name}: ${reason}`, { cause });
  }
}

/**
 * `spawn` of Node 24 may leak three file descriptors when the pair for its third pipe takes the last ones, until nothing can be
 * started any more. So nothing is started unless all descriptors that it needs are available.
 *
 * Throws an errno error: EMFILE, ENFILE.
 */
function expectDescriptors(count: number): void {
  const free: number[] = [];
  try {
    while (free.length < count) free.push(openSync('/dev/null', 'r'));
  } finally {
    for (const descriptor of free) closeSync(descriptor);
  }
}

async function waitForGroup(
  child: ChildProcessWithoutNullStreams,
  signalGroup: (signal: NodeJS.Signals) => void,
): Promise<Exit> {
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const exit = await new Promise<Exit>((resolve) =>
    child.once('exit', (code, signal) => resolve({ code, signal })),
  );
  // while a process of the group exists, the kernel does not reuse the group's number
  const linger = timeout(LINGER_MS, () => signalGroup('SIGKILL'));
  const giveUp = timeout(2 * LINGER_MS, () => {
    // a process that has left the group and holds the pipes is out of reach: stop reading its output
    child.stdout.destroy();
    child.stderr.destroy();
  });
  await closed;
  linger.clear();
  giveUp.clear();
  signalGroup('SIGKILL');
  return exit;
}
