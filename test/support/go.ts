/** Go programs for tests: each compiled once for its sources, and kept for later runs. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The program of the main package in a folder. Its modules are those that go.sum pins. Throws with what is missing. */
export async function prepareGo(folder: string): Promise<string> {
  const hash = createHash('sha256');
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
  for (const path of paths.toSorted()) hash.update(await readFile(path));
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'millrace-test');
  const program = join(cache, `go-${hash.digest('hex').slice(0, 12)}`);
  const isThere = access(program).then(
    () => true,
    () => false,
  );
  if (await isThere) return program;
  await mkdir(cache, { recursive: true });
  // compiled aside and moved into place whole, so that a run that was ended or one beside this leaves no half of it
  const making = `${program}.${process.pid}`;
  try {
    await run('go', ['build', '-mod=readonly', '-o', making, '.'], { cwd: folder });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new Error(`Go is needed, as new as go.mod says (${stderr?.trim() || message}): install it`, {
      cause: error,
    });
  }
  await rename(making, program);
  return program;
}
