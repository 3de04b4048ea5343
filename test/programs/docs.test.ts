/** The reference of flags is the output of --help. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { flagsPage } from '../../scripts/reference.ts';

test('docs/reference/flags.md is what `npm run docs` writes', async () => {
  const file = join(import.meta.dirname, '../../docs/reference/flags.md');
  const current = readFileSync(file, 'utf8') === (await flagsPage());
  expect(current, 'docs/reference/flags.md is not current: npm run docs').toBe(true);
});
