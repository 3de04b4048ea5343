/** The version of this build. The bundler puts the number in place; in development package.json is read. */
import { readFileSync } from 'node:fs';

declare const MILLRACE_VERSION: string | undefined;

export const version: string =
  typeof MILLRACE_VERSION === 'string'
    ? MILLRACE_VERSION
    : (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version;
