/**
 * `worker/process/`: the worker as a process: init where it is process 1, its start from compiled code, its metrics, what
 * memory it gives back, how long it runs on when told to stop. It knows nothing of queues or epochs.
 *
 * A worker that is the first process of a container has the duties of an init: orphans become its children, and Node waits
 * only for what it started itself, so each helper that a task leaves behind stays as a zombie until the container can start
 * nothing more. Millrace's image begins with init.sh; elsewhere the worker replaces itself with the same script here, which
 * starts it again as an ordinary process. That costs such a container one more start of Node.
 *
 * Imported before all else, for its effect.
 */
import { accessSync, constants } from 'node:fs';
import { initScript } from './init-script.ts';

const SHELL = '/bin/sh';

/** Whether there is a shell that can be the first process. */
function hasShell(): boolean {
  try {
    accessSync(SHELL, constants.X_OK);
    return true;
  } catch {
    return false; // an image with nothing but Node: no helper is left behind by what cannot be started
  }
}

if (process.pid === 1 && hasShell() && process.execve) {
  const { execPath, execArgv, argv, env } = process;
  const variables = Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  process.execve(
    SHELL,
    ['sh', '-c', initScript(), 'init', execPath, ...execArgv, ...argv.slice(1)],
    variables,
  );
}
