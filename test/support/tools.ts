/** The pinned programs of Kubernetes for tests: what `test/kind/tools.sh` provides. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

const script = join(import.meta.dirname, '../kind/tools.sh');

/**
 * The folder that holds these programs: `MILLRACE_TEST_TOOLS`, or what `tools.sh` prints, which may compile them first.
 * @throws when they can neither be compiled nor found; why is on standard error.
 */
export async function findTools(names: readonly string[]): Promise<string> {
  const given = process.env['MILLRACE_TEST_TOOLS'];
  if (given) return given;
  const child = spawn('bash', [script, ...names], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [printed, [code]] = await Promise.all([text(child.stdout), once(child, 'close')]);
  if (code !== 0) throw new Error(`${script} ${names.join(' ')} ended with code ${code}`);
  return printed.trim();
}

/** vitest's globalSetup: compiles missing tools before the tests, whose time is limited. */
export async function setup(): Promise<void> {
  await findTools(['etcd', 'kube-apiserver', 'kube-controller-manager', 'kubectl', 'helm']);
}
