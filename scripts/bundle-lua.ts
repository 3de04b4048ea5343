/** The Lua scripts in a bundle: their sources as texts, and their hashes. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Metafile, Plugin } from 'esbuild';
import { sources } from '../queue/scripts/lua.ts';

const root = resolve(import.meta.dirname, '..');
/** The module that has the sources, and the one that runs them. */
const SOURCES = 'queue/scripts/lua.ts';
const RUNNER = 'queue/scripts/scripts.ts';

/** Replaces the module that reads the sources from their files. `names`: those of the scripts to contain; all by default. */
export function inlineLua(names: ReadonlySet<string> = new Set(Object.keys(sources))): Plugin {
  const inlined = Object.entries(sources).filter(([name]) => names.has(name));
  const hashes = inlined.map(([name, lua]) => [name, createHash('sha1').update(lua).digest('hex')]);
  const json = (entries: readonly (readonly string[])[]): string =>
    JSON.stringify(Object.fromEntries(entries));
  return {
    name: 'inline-lua',
    setup(bundler) {
      bundler.onLoad({ filter: /[\\/]lua\.ts$/ }, ({ path }) =>
        path === resolve(root, SOURCES)
          ? {
              contents: `export const sources = ${json(inlined)}, hashes = ${json(hashes)};`,
              loader: 'js',
            }
          : undefined,
      );
    },
  };
}

/**
 * The names of the scripts that a bundle runs. Throws `Error` where code names a script by anything but a literal, which cannot
 * be seen here.
 */
export function scriptsIn({ outputs }: Metafile): ReadonlySet<string> {
  const files = Object.values(outputs)
    .flatMap(({ inputs }) => Object.entries(inputs))
    .filter(([path, { bytesInOutput }]) => /^(?:queue|worker|runtime)\//.test(path) && bytesInOutput > 0)
    .map(([path]) => path);
  const names = files.flatMap((path) => scriptsNamedIn(path, readFileSync(resolve(root, path), 'utf8')));
  return new Set(names);
}

/** The names of the scripts that a source file, `text`, runs. Throws as `scriptsIn` does. */
export function scriptsNamedIn(path: string, text: string): readonly string[] {
  const literal = [...text.matchAll(/\bscript\([^,']+,\s*'([\w-]+)'|\bsources\['([\w-]+)'\]/g)];
  const uses = text.match(/\bscript\(|\bsources\[/g) ?? [];
  if (path !== RUNNER && literal.length !== uses.length)
    throw new Error(
      `${path} names a script by an expression: name it by a literal, as script(redis, 'turn')`,
    );
  return literal.map(([, called, read]) => called ?? read ?? '');
}

/** ioredis hashes each script that is defined; a bundle knows the hashes, so that only other scripts need node:crypto. */
export const knownHashes: Plugin = {
  name: 'known-hashes',
  setup(bundler) {
    bundler.onResolve({ filter: /^crypto$/ }, ({ path, importer }) =>
      /[\\/]ioredis[\\/]built[\\/]Script\.js$/.test(importer) ? { path, namespace: 'hashes' } : undefined,
    );
    bundler.onLoad({ filter: /./, namespace: 'hashes' }, () => ({
      contents: `
        const { sources, hashes } = require('./${SOURCES}');
        const known = new Map(Object.entries(sources).map(([name, lua]) => [lua, hashes[name]]));
        const computed = (name, lua, form) =>
          process.getBuiltinModule('node:crypto').createHash(name).update(lua).digest(form);
        exports.createHash = (name) => ({
          update: (lua) => ({ digest: (form) => known.get(lua) ?? computed(name, lua, form) }),
        });`,
      resolveDir: root,
      loader: 'js',
    }));
  },
};
