/** Documents that are made of others by `npm run docs`: written, or with `--check` only held against what would be written. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process, { argv, stderr } from 'node:process';

const root = join(import.meta.dirname, '..');

/** `file`: its path in the repository. With `--check`, one that is not what `source` says makes the program fail at its end. */
export function writeGenerated(file: string, text: string, source: string): void {
  const path = join(root, file);
  if (!argv.includes('--check')) writeFileSync(path, text);
  else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
    stderr.write(`${file} is not what ${source} says; run npm run docs\n`);
    process.exitCode = 1;
  }
}

/** The text of `file` with a table in the place that the markers of its name keep for it. Throws when there is none. */
export function withTable(file: string, text: string, name: string, table: string): string {
  const place = new RegExp(`(<!-- ${name}: .*? -->\n)[^]*?(\n<!-- end -->)`);
  if (!place.test(text)) throw new Error(`${file} has no place for the table "${name}"`);
  return text.replace(place, (_, begin: string, end: string) => `${begin}\n${table}\n${end}`);
}
