/**
 * The scripts' sources by name. In development they are read from the `.lua` files beside this one; the bundler
 * replaces this module with the same object, so that a bundle is one file.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';

export const sources: Record<string, string> = Object.fromEntries(
  readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith('.lua'))
    .map((file) => [basename(file, '.lua'), readFileSync(`${import.meta.dirname}/${file}`, 'utf8')]),
);
