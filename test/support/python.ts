/** Python packages for tests: an environment for each set of requirements, created once and kept for later runs. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { keptInCache } from './cache.ts';

const run = promisify(execFile);

/** An interpreter with the requirements (lines of a requirements.txt), or an error with what is missing. */
export async function preparePython(requirements: string): Promise<string | Error> {
  const digest = createHash('sha256').update(requirements).digest('hex').slice(0, 12);
  const file = join('bin', 'python');
  try {
    return await keptInCache(`venv-${digest}`, (path) => install(requirements, path), file);
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    const [line = ''] = (stderr?.trim() || message).split('\n');
    return new Error(
      `python3 with venv and pip is needed (${line}): install it, as with "apt-get install python3-venv"`,
    );
  }
}

async function install(requirements: string, path: string): Promise<void> {
  await run('python3', ['-m', 'venv', path]);
  // as a file: hashes are accepted nowhere else
  const list = join(path, 'requirements.txt');
  await writeFile(list, requirements);
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', list];
  await run(join(path, 'bin', 'python'), pip);
}

/** An interpreter with what the package in `python/` is tested and checked with. Throws what is missing. */
export async function pythonOfPackage(): Promise<string> {
  const requirements = join(import.meta.dirname, '../../python/requirements.txt');
  const python = await preparePython(await readFile(requirements, 'utf8'));
  if (python instanceof Error) throw python;
  return python;
}
