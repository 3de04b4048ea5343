/** Redis runs each script by itself: what several of them need stands in one file that is joined to each of them (lua.ts). */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sources } from '../../queue/scripts/lua.ts';
import { scriptsNamedIn } from '../../scripts/bundle-lua.ts';

const folder = join(import.meta.dirname, '../../queue/scripts');
const scripts = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.lua'))
  .map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));

/** The scripts that define a function of a name, by name. */
const functions = new Map(
  [
    ...Map.groupBy(
      scripts.flatMap(({ name, text }) =>
        Array.from(text.matchAll(/^ *local function (\w+)\(/gm), ([, called = '']) => ({ name, called })),
      ),
      ({ called }) => called,
    ),
  ].map(([called, found]) => [called, found.map(({ name }) => name)]),
);

test('each function stands in one file', () => {
  expect(functions.size).toBeGreaterThan(50);
  const copied = [...functions].filter(([, copies]) => copies.length > 1);
  expect(copied.map(([name, copies]) => `${name}: ${copies.join()}`)).toEqual([]);
});

test('each file is a part of some script', () => {
  const texts = Object.values(sources);
  const idle = scripts.filter(({ text }) => !texts.some((source) => source.includes(text)));
  expect(idle.map(({ name }) => name)).toEqual([]);
});

test('OVERHEAD is the same wherever it stands', () => {
  const values = scripts.flatMap(({ text }) =>
    Array.from(text.matchAll(/^ *local OVERHEAD = (.*)$/gm), ([, value]) => value),
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
