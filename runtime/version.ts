/** The version of this build. The bundler puts the number in place; otherwise the package's own manifest has it. */
import { readFileSync } from 'node:fs';
import { findPackageJSON } from 'node:module';

declare const MILLRACE_VERSION: string | undefined;

function manifestVersion(): string {
  const manifest = findPackageJSON('..', import.meta.url);
  if (!manifest)
    throw new Error('package.json is missing beside this installation of millrace: install it again');
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

export const version: string = typeof MILLRACE_VERSION === 'string' ? MILLRACE_VERSION : manifestVersion();
