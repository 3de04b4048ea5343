/** Documents that are generated: written, or with `--check` only compared with what would be written. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process, { stderr } from 'node:process';
import { runScript } from './script.ts';

const root = join(import.meta.dirname, '..');

interface Generator {
  readonly description: string;
  /** What the documents are made from, and the command that writes them: for the message of `--check`. */
  readonly source: string;
  readonly command: string;
  /** Path in the repository → text. */
  readonly documents: () => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>;
}

/** Runs a script that generates documents. With `--check`, one that is not current is named, and the exit code is 1. */
export async function runGenerator(file: string, generator: Generator): Promise<void> {
  const { description, source, command, documents } = generator;
  await runScript(
    file,
    description,
    async ({ check }) => {
      for (const [path, text] of Object.entries(await documents())) {
        const target = join(root, path);
        if (!check) writeFileSync(target, text);
        else if (!existsSync(target) || readFileSync(target, 'utf8') !== text) {
          stderr.write(`${path} does not match ${source}: run ${command}\n`);
          process.exitCode = 1;
        }
      }
    },
    (program) => program.option('--check', 'write nothing; fail if a file is not current'),
  );
}

/** Replaces the table between the markers of `name` in the text of `file`. Throws `Error` if there are none. */
export function withTable(file: string, text: string, name: string, table: string): string {
  const place = new RegExp(`(<!-- ${name}: .*? -->\n)[^]*?(\n<!-- end -->)`);
  if (!place.test(text)) throw new Error(`${file} has no place for the table "${name}"`);
  return text.replace(place, (_, begin: string, end: string) => `${begin}\n${table}\n${end}`);
}
