/**
 * Builds the dashboard's page: one script, one style sheet, and files that are served unchanged. `node scripts/page.ts <folder>`
 * writes the files; in a checkout, the server builds them in memory on the first request.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { build } from 'esbuild';
import { runScript } from './script.ts';

const root = resolve(import.meta.dirname, '..');
const DEFAULT_FOLDER = 'dist/dashboard';
const COPIED = ['index.html', 'icon.svg'];
/** Packages that the page is built with and contains. */
export const PACKAGES = ['preact', 'uplot'];

/**
 * The files by name.
 * Rejects if esbuild fails, with its messages.
 */
export async function buildPage(): Promise<Map<string, Buffer>> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ['dashboard/main.tsx', 'dashboard/main.css', 'dashboard/early.ts'],
    outdir: 'out',
    bundle: true,
    minify: true,
    write: false,
    platform: 'browser',
    format: 'esm',
    target: ['chrome120', 'firefox121', 'safari17'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    define: { 'process.env.NODE_ENV': '"production"' },
    legalComments: 'eof',
    logLevel: 'warning',
  });
  const built = outputFiles.map(({ path, contents }) => [basename(path), Buffer.from(contents)] as const);
  const copied = COPIED.map((name) => [name, readFileSync(join(root, 'dashboard', name))] as const);
  return new Map([...built, ...copied]);
}

/** Writes the files into `folder`, which is emptied first. */
export async function writePage(folder: string): Promise<void> {
  const files = await buildPage();
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [name, contents] of files) writeFileSync(join(folder, name), contents);
}

if (import.meta.main)
  await runScript(
    'page.ts',
    "Builds the dashboard's page.",
    async (_, folder = DEFAULT_FOLDER) => await writePage(resolve(root, folder)),
    (program) => program.argument('[folder]', 'written anew, with nothing else in it', DEFAULT_FOLDER),
  );
