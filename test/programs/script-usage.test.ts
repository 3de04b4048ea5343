/** Scripts in a shell: --help starts nothing, and neither does an unknown argument. */
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const scripts = globSync('scripts/*.ts', { cwd: root })
  .filter((file) => /import\.meta\.main|^await runScript/m.test(readFileSync(join(root, file), 'utf8')))
  .concat('bench/main.ts', 'test/chaos/main.ts', 'test/browser/screenshots.ts');

/** With nothing in PATH that it could do its work with. */
function run(file: string, ...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, [file, ...args], { cwd: root, env: { PATH: '' } });
}

test('there are scripts', () => expect(scripts.length).toBeGreaterThan(11));

test.concurrent.each(scripts)('%s --help prints its usage and does nothing', async (file) => {
  const { stdout, stderr } = await run(file, '--help');
  expect(stdout).toMatch(/^usage: /i);
  expect(stderr).toBe('');
});

test.concurrent.each(scripts)('%s with an unknown option fails and does nothing', async (file) => {
  await expect(run(file, '--nonsense')).rejects.toMatchObject({
    code: file.endsWith('release.ts') ? 1 : 2,
    stdout: '',
    stderr: expect.stringMatching(/^[^\n]*(unknown option|usage: )[^\n]*\n$/),
  });
});
