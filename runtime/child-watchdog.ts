/**
 * Takes the programs with it when the worker dies without a word (SIGKILL, out of memory). A small shell in a
 * session of its own knows the process groups that run; its stdin is a pipe from the worker. However the worker
 * ends, the kernel closes that pipe, and the shell kills what is still noted.
 *
 * Chosen over the kernel's parent-death signal (PR_SET_PDEATHSIG, which Node cannot set without a wrapper around
 * every start) because that one reaches the program only, and not the processes that it started. Where there is
 * no `sh`, the worker runs without this protection. One watcher serves all programs of a handler.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';

export interface Watcher extends AsyncDisposable {
  /** Registers a process group to be killed if the worker dies. */
  add(group: number): void;
  /** The group has ended: its number may be reused. */
  remove(group: number): void;
}

const SCRIPT = `
groups=' '
while read -r verb group; do
  case $verb in
    add) groups="$groups$group " ;;
    remove) groups="\${groups%% $group *} \${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -KILL "-$group" 2>/dev/null; done
`;

const NOBODY: Watcher = {
  add: () => undefined,
  remove: () => undefined,
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

/** Starts the watcher. It does not keep the worker's event loop alive. */
export function openWatcher(): Watcher {
  const shell = spawn('/bin/sh', ['-c', SCRIPT], {
    detached: true, // Out of reach of a terminal's Ctrl-C, which is for the worker to handle.
    stdio: ['pipe', 'ignore', 'ignore'],
    env: {},
  });
  const ended = once(shell, 'close').catch(() => undefined); // An 'error' means that there is no shell.
  if (shell.pid === undefined) return NOBODY;
  shell.stdin.on('error', () => undefined); // The watcher was killed: there is no one left to notify.
  shell.unref();
  const tell = (line: string): void => {
    if (shell.stdin.writable) shell.stdin.write(line);
  };
  return {
    add: (group) => tell(`add ${group}\n`),
    remove: (group) => tell(`remove ${group}\n`),
    async [Symbol.asyncDispose]() {
      shell.ref();
      shell.stdin.end();
      await ended;
    },
  };
}
