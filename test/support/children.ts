/**
 * Child processes of tests that must not outlive them: their output goes to `<name>.log` in a folder, and a guard kills them
 * and removes the folder when the test process dies before it could.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** Starts a program in `dir`, with `env` beside what it needs anyway. */
export function run(
  program: string,
  dir: string,
  args: string[],
  env: Readonly<Record<string, string>> = {},
): ChildProcess {
  const log = openSync(join(dir, `${basename(program)}.log`), 'w');
  const child = spawn(program, args, {
    cwd: dir,
    env: { PATH: process.env['PATH'], HOME: dir, ...env },
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  return child;
}

/** A shell that sleeps on a pipe from this process: the pipe ends with us, however we end. */
export function startGuard(children: ChildProcess[], dir: string): ChildProcess {
  const script = 'read -r _; dir=$1; shift; kill -9 "$@"; rm -rf "$dir"';
  const guard = spawn('/bin/sh', ['-c', script, 'guard', dir, ...children.map((c) => String(c.pid))], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  // Neither the guard nor the servers should keep a finished test process from exiting.
  for (const child of [guard, ...children]) child.unref();
  return guard;
}

/** Rejects when the child ends by itself; stays pending otherwise. */
export function failure(child: ChildProcess, dir: string): Promise<never> {
  const name = basename(child.spawnfile);
  const { promise, reject } = Promise.withResolvers<never>();
  child.once('error', (cause) =>
    reject(new Error(`cannot run ${child.spawnfile}: ${cause.message}`, { cause })),
  );
  child.once('exit', (code, signal) => {
    void logTail(dir, name).then((tail) => reject(new Error(`${name} ended (${code ?? signal}):\n${tail}`)));
  });
  // after the start nothing awaits it
  promise.catch(() => {});
  return promise;
}

/** The end of a program's log. */
export async function logTail(dir: string, name: string): Promise<string> {
  const log = await readFile(join(dir, `${name}.log`), 'utf8').catch(() => '(no log)');
  return log.trim().split('\n').slice(-15).join('\n');
}

/** Kills a child, also one that is stopped, and waits until it is gone. */
export async function kill(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => void child.once('exit', resolve));
  child.ref();
  child.kill(signal);
  await ended;
}

export function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error(`${child.spawnfile} does not run`);
  return child.pid;
}
