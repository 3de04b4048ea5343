/** `kubectl get --watch`, with the time at which each change was seen on this machine. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Release } from './kind-release.ts';

export interface Seen {
  readonly value: string;
  /** ms, of performance.now(). */
  readonly at: number;
}

export interface Watch extends Disposable {
  /** Values that differ from the one before them, oldest first. */
  readonly seen: readonly Seen[];
}

/**
 * Watches `what` (`['deployment', name]`), which must be there, in the pools' namespace until it is disposed of. `path` is a
 * JSONPath. Resolves when the first value has come.
 */
export async function watch(release: Release, what: readonly string[], path: string): Promise<Watch> {
  const { cluster, namespace } = release;
  const flags = ['--namespace', namespace, '--watch', '--output', `jsonpath=${path}{"\\n"}`];
  const child = spawn(join(cluster.place.tools, 'kubectl'), ['get', ...what, ...flags], {
    env: cluster.env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const seen: Seen[] = [];
  const lines = createInterface(child.stdout).on('line', (value) => {
    if (seen.at(-1)?.value !== value) seen.push({ value, at: performance.now() });
  });
  await Promise.race([once(lines, 'line'), once(child, 'exit')]);
  return { seen, [Symbol.dispose]: () => void child.kill() };
}
