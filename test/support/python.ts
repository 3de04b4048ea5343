/** Python packages for tests: an environment for each set of requirements, created once and kept for later runs. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** An interpreter with the requirements (lines of a requirements.txt), or an error with what is missing. */
export async function preparePython(requirements: string): Promise<string | Error> {
  const digest = createHash('sha256').update(requirements).digest('hex').slice(0, 12);
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'millrace-test');
  const ready = join(cache, `venv-${digest}`);
  const interpreter = join(ready, 'bin', 'python');
  const isThere = async (): Promise<boolean> =>
    access(interpreter).then(
      () => true,
      () => false,
    );
  if (await isThere()) return interpreter;
  // made aside and moved into place whole, so that a run that was ended or one beside this leaves no half of it
  const making = `${ready}.${process.pid}`;
  try {
    await mkdir(cache, { recursive: true });
    await run('python3', ['-m', 'venv', making]);
    // as a file: hashes are accepted nowhere else
    const list = join(making, 'requirements.txt');
    await writeFile(list, requirements);
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', list];
    await run(join(making, 'bin', 'python'), pip);
    await rename(making, ready);
    return interpreter;
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    if (await isThere()) return interpreter;
    const { stderr, message } = error as Error & { stderr?: string };
    const [line = ''] = (stderr?.trim() || message).split('\n');
    return new Error(
      `python3 with venv and pip is needed (${line}): install it, as with "apt-get install python3-venv"`,
    );
  }
}
