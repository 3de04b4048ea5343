/** What the Python package shares with the rest: it is released with it, and speaks to Redis with the same scripts. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PROTOCOL } from '../../worker/handlers/python-frames.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

const SCRIPTS = readdirSync(join(root, 'python/src/millrace/scripts'), { recursive: true, encoding: 'utf8' });

test.each(SCRIPTS.filter((name) => name.endsWith('.lua')))(
  'the copy of %s is the script of the library',
  (name) => {
    expect(read(`python/src/millrace/scripts/${name}`)).toBe(read(`queue/scripts/${name}`));
  },
);

test('the license is the same', () => {
  expect(read('python/LICENSE')).toBe(read('LICENSE'));
});

test('the protocol between worker and process is the same', () => {
  const stated = /^PROTOCOL = (\d+)$/m.exec(read('python/src/millrace/worker/frames.py'))?.[1];
  expect(Number(stated)).toBe(PROTOCOL);
});
