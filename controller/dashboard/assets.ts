/**
 * The page's files. In the package they are prebuilt in dist/dashboard; in a checkout they are built on first
 * use. In a bundle, they are part of it: scripts/bundle.ts puts them in place of this file.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Files } from '../../runtime/static-files.ts';

/** Rejects when the page cannot be built, or is not there. */
export async function loadAssets(): Promise<Files> {
  const beside = join(import.meta.dirname, '../../dashboard');
  const names = await readdir(beside);
  if (names.includes('main.tsx')) {
    // not a part of what is published, so not known to its compiler either
    const builder = new URL('../../scripts/page.ts', import.meta.url).href;
    const { buildPage } = (await import(builder)) as { readonly buildPage: () => Promise<Files> };
    return buildPage();
  }
  const files = names.map(async (name) => [name, await readFile(join(beside, name))] as const);
  return new Map(await Promise.all(files));
}
