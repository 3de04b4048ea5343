/** Go programs for tests: each compiled once for its sources, and kept for later runs. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { keptInCache } from './cache.ts';

const run = promisify(execFile);

/** The program of a main package in a folder. Its modules are those that go.sum pins. Throws with what is missing. */
export async function prepareGo(folder: string, main = '.'): Promise<string> {
  const hash = createHash('sha256').update(main);
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
  for (const path of paths.toSorted()) hash.update(await readFile(path));
  const name = `go-${hash.digest('hex').slice(0, 12)}`;
  return await keptInCache(name, async (program) => {
    try {
      await run('go', ['build', '-mod=readonly', '-o', program, main], { cwd: folder });
    } catch (error) {
      const { stderr, message } = error as Error & { stderr?: string };
      throw new Error(`Go is needed, as new as go.mod says (${stderr?.trim() || message}): install it`, {
        cause: error,
      });
    }
  });
}
