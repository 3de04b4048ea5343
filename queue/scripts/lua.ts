/**
 * The scripts' sources by name. In development they are read from the `.lua` files beside this one; the bundler
 * replaces this module with the same object, so that a bundle is one file.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** The files of a script that stands in several: they are joined in this order, and see the locals of those before them. */
const PARTS = { turn: ['turn', 'checks', 'rare', 'suspects', 'main'] };

const read = (...path: string[]): string => readFileSync(join(import.meta.dirname, ...path), 'utf8');

export const sources: Record<string, string> = Object.fromEntries([
  ...readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith('.lua'))
    .map((file) => [basename(file, '.lua'), read(file)]),
  ...Object.entries(PARTS).map(([name, parts]) => [
    name,
    parts.map((part) => read(name, `${part}.lua`)).join('\n'),
  ]),
]);
