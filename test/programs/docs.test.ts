/** The reference of flags is the output of --help, and simulations in documents print what they did when they were written down. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { flagsPage } from '../../scripts/reference.ts';
import { millrace } from '../support/millrace.ts';

const root = join(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

test('docs/reference/flags.md is what `npm run docs` writes', async () => {
  const current = read('docs/reference/flags.md') === (await flagsPage());
  expect(current, 'docs/reference/flags.md is not current: npm run docs').toBe(true);
});

test('the policies that the README compares have its figures', async () => {
  const [, flags = '', table = ''] =
    /^npx millrace (simulate .*) --chart out\.svg\n```\n\n```\n(POLICY[^`]*)```/m.exec(read('README.md')) ??
    [];
  const { stdout } = await millrace(flags.split(' '));
  expect(wordsOf(stdout)).toContain(wordsOf(table));
});

test('the schedule of the example begins as its README shows', async () => {
  const [line = ''] = /^ *\d.* schedule "office hours"$/m.exec(read('examples/schedules/README.md')) ?? [];
  expect(line).not.toBe('');
  const { stdout } = await promisify(execFile)(join(root, 'examples/schedules/run.sh'), {
    maxBuffer: 1 << 26,
  });
  expect(stdout.split('\n')).toContain(line);
});

/** Without how wide the columns are. */
function wordsOf(table: string): string {
  expect(table).not.toBe('');
  return table.trim().replaceAll(/ +/g, ' ');
}
