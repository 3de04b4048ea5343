/** The Python package: its own suite against real servers and a real worker, and the wheel and the source archive that are published. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { packageEnv } from '../fixtures/python-suite.ts';
import { programEnv } from '../support/program-env.ts';
import { pythonOfPackage } from '../support/python.ts';

const run = promisify(execFile);
const folder = resolve(import.meta.dirname, '../../python');
const suites = (await readdir(join(folder, 'tests'))).filter((name) => name.startsWith('test_'));

// each is a suite of its own
describe.concurrent('pytest', { timeout: 900_000 }, () => {
  test.each(suites)('%s', async (suite) => {
    const env = { ...programEnv, HOME: process.env['HOME'], ...packageEnv };
    const args = ['-m', 'pytest', '-q', join('tests', suite)];
    const ended = await run(await pythonOfPackage(), args, { cwd: folder, env }).catch(
      (error: unknown) => error,
    );
    const { stdout } = ended as { stdout: string };
    // neither skipped nor expected to fail
    expect(stdout).toMatch(/^\d+ passed in [\d.]+s/m);
    expect(ended, stdout).not.toBeInstanceOf(Error);
  });
});

test('wheel and source archive are built, and the wheel works by itself', async () => {
  const python = await pythonOfPackage();
  const place = await mkdtemp(join(tmpdir(), 'millrace-wheel-'));
  try {
    const env = { ...programEnv, HOME: process.env['HOME'], PYTHONDONTWRITEBYTECODE: '1' };
    await run(python, ['-m', 'build', '--no-isolation', '--outdir', place, folder], { env });
    const built = (await readdir(place)).toSorted();
    const { version } = JSON.parse(await readFile(join(folder, '../package.json'), 'utf8')) as {
      version: string;
    };
    expect(built).toEqual([`millrace-${version}-py3-none-any.whl`, `millrace-${version}.tar.gz`]);
    const wheel = join(place, built[0] ?? '');
    const target = join(place, 'installed');
    await run(python, [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--no-deps',
      '--no-index',
      '--target',
      target,
      wheel,
    ]);
    const files = await readdir(target, { recursive: true });
    expect(files).toEqual(
      expect.arrayContaining([
        'millrace/py.typed',
        'millrace/scripts/push.lua',
        'millrace/scripts/batch/batches.lua',
        'millrace/scripts/batch/numbered.lua',
      ]),
    );
    const metadata = await readFile(join(target, `millrace-${version}.dist-info/METADATA`), 'utf8');
    expect(metadata).toMatch(/^License-Expression: Apache-2\.0$/m);
    expect(metadata.match(/^Requires-Dist: .*$/gm)).toEqual(['Requires-Dist: redis>=5.2']);
    const program = 'import millrace; print(millrace.Queue.__module__, millrace.__file__)';
    const { stdout } = await run(python, ['-c', program], {
      cwd: place,
      env: { ...env, PYTHONPATH: target },
    });
    expect(stdout).toBe(`millrace.queue ${join(target, 'millrace/__init__.py')}\n`);
  } finally {
    await rm(place, { recursive: true });
  }
});
