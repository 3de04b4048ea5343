/** Processes that a benchmark measures, and their figures from the system. They end with the benchmark, however it ends. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { openWatcher } from '../../runtime/child-watchdog.ts';

export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** Sends a word to a program of ours; it does not reply, its effect is visible in Redis. */
  tell(word: string): void;
  /** Throws if it has ended, with the end of its stderr. */
  expectAlive(): Promise<void>;
}

export interface ChildOptions {
  /** The program; the current Node by default. */
  readonly file?: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

const STOP_MS = 5_000;

/** Starts a program, with the current Node by default. */
export function startChild({ file = process.execPath, args, env }: ChildOptions): Child {
  const child = spawn(file, args, {
    env,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const { pid, stderr } = child;
  if (pid === undefined || stderr === null) throw new Error(`cannot start ${args.join(' ')}`);
  const watcher = openWatcher();
  watcher.add(pid);
  const said = text(stderr);
  const ended = once(child, 'close');
  return {
    pid,
    tell: (word) => void child.send(word),
    expectAlive: async () => {
      if (child.exitCode === null && child.signalCode === null) return;
      const last = (await said).trim().split('\n').slice(-3).join(' ');
      throw new Error(`${args.join(' ')} ended by itself (${child.exitCode ?? child.signalCode}): ${last}`);
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM');
        const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
        await ended;
        clearTimeout(late);
      }
      watcher.remove(pid);
      await watcher[Symbol.asyncDispose]();
    },
  };
}

/** Clock ticks of /proc are 10 ms on every Linux that Node runs on. */
const TICK_MS = 10;

/** CPU time of a process, ms; `undefined` without /proc. */
export function cpuMsOf(pid: number): number | undefined {
  const stat = procFile(pid, 'stat');
  // the name of the program is in parentheses and may contain anything
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields && (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** The same for a process and all that it has started, and that live now. */
export function cpuMsOfTree(root: number): number {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const parents = new Map(
    pids.map((pid) => [
      Number(pid),
      Number(/^PPid:\t(\d+)$/m.exec(procFile(Number(pid), 'status') ?? '')?.[1]),
    ]),
  );
  const isOfTree = (pid: number): boolean => {
    for (let at: number | undefined = pid; at; at = parents.get(at)) if (at === root) return true;
    return false;
  };
  const own = [...parents.keys()].filter(isOfTree);
  return own.reduce((sum, pid) => sum + (cpuMsOf(pid) ?? 0), 0);
}

export interface ProcessMemory {
  /** Including file pages that other processes may share. */
  readonly residentMb: number;
  readonly privateMb: number;
}

/** The memory of a process; `undefined` without /proc. */
export function memoryOf(pid: number): ProcessMemory | undefined {
  const status = procFile(pid, 'status');
  if (status === undefined) return undefined;
  const megabytes = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1_024;
  return { residentMb: megabytes('VmRSS'), privateMb: megabytes('RssAnon') };
}

/** The peak memory of a process since its start, MB; `undefined` without /proc. */
export function peakMbOf(pid: number): number | undefined {
  const status = procFile(pid, 'status');
  return status === undefined ? undefined : Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024;
}

function procFile(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return undefined;
  }
}
