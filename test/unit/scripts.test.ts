/** Redis runs each script by itself, so functions that several of them need are copied: the copies must be equal. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scriptsNamedIn } from '../../scripts/bundle-lua.ts';

const folder = join(import.meta.dirname, '../../queue/scripts');
const scripts = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.lua'))
  .map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));

/** The functions of all scripts, without comments, by name. */
const functions = Map.groupBy(
  scripts.flatMap(({ name, text }) =>
    Array.from(
      // looked ahead, so that a function inside of another is found too
      text.matchAll(/^(?=(( *)local function (\w+)\((?:.* end$|[^]*?^\2end$)))/gm),
      ([, source = '', indent = '', called = '']) => ({
        called,
        script: name,
        code: source.replaceAll(/^ *--.*\n/gm, '').replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
      }),
    ),
  ),
  ({ called }) => called,
);
const shared = [...functions].filter(([, copies]) => copies.length > 1);

test('the functions that several scripts have', () => {
  expect(shared.map(([name]) => name).toSorted()).toEqual([
    'digest',
    'entry_digest',
    'fingerprint',
    'in_parts',
    'is_over',
    'queue_time',
    'recall',
    'remember',
    'sound',
    'tally',
  ]);
});

test.for(shared)('%s is the same wherever it stands', ([, copies]) => {
  expect(new Set(copies.map(({ code }) => code)).size, copies.map(({ script }) => script).join()).toBe(1);
});

test.for(['HISTORY_BYTES', 'OVERHEAD'])('%s is the same wherever it stands', (name) => {
  const values = scripts.flatMap(({ text }) =>
    Array.from(text.matchAll(new RegExp(`^ *local ${name} = (.*)$`, 'gm')), ([, value]) => value),
  );
  expect(values.length).toBeGreaterThan(1);
  expect(new Set(values).size).toBe(1);
});

test('the code names its scripts so that a bundle can find them', () => {
  const root = join(import.meta.dirname, '../..');
  const files = ['queue', 'worker', 'runtime'].flatMap((part) =>
    readdirSync(join(root, part), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${part}/${name}`),
  );
  const named = files.flatMap((path) => scriptsNamedIn(path, readFileSync(join(root, path), 'utf8')));
  expect(named).toContain('turn');
  expect(named).toContain('batch-report');
});
