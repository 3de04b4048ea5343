/** Redis runs each script by itself, so what several of them need stands in each: the copies are held to be equal here. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const folder = join(import.meta.dirname, '../../queue/scripts');
const scripts = readdirSync(folder)
  .filter((name) => name.endsWith('.lua'))
  .map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));

/** The functions of all scripts, with the comment above each, by name. */
const functions = Map.groupBy(
  scripts.flatMap(({ name, text }) =>
    Array.from(
      text.matchAll(/^(?:--.*\n)*local function (\w+)\([^]*?^(?:end|.* end)$/gm),
      ([source, called]) => ({
        called: called ?? '',
        script: name,
        source,
      }),
    ),
  ),
  ({ called }) => called,
);

test.for(['queue_time', 'is_over', 'remember'])('%s is the same wherever it stands', (name) => {
  const copies = functions.get(name) ?? [];
  const code = copies.map(({ source }) => source.replaceAll(/^ *--.*\n/gm, ''));
  expect(copies.length).toBeGreaterThan(1);
  expect(new Set(code).size, copies.map(({ script }) => script).join()).toBe(1);
});
