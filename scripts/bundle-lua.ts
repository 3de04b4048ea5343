/** The Lua scripts in a bundle: their sources as texts, and their hashes. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Metafile, Plugin } from 'esbuild';
import { sources } from '../queue/scripts/lua.ts';

const root = resolve(import.meta.dirname, '..');
/** The module that has the sources, and those that run them. */
const SOURCES = 'queue/scripts/lua.ts';
const RUNNERS = new Set([
  'queue/scripts/scripts.ts',
  'queue/scripts/fixed-keys.ts',
  'queue/workers/worker-scripts.ts',
]);

/**
 * Replaces the module that reads the sources from their files. A text is made when its script is first called, because most
 * processes call few of them. `names`: those of the scripts to contain; all by default.
 */
export function inlineLua(names: ReadonlySet<string> = new Set(Object.keys(sources))): Plugin {
  const texts = Object.entries(sources)
    .filter(([name]) => names.has(name))
    .map(([name, lua]) => [name, compactLua(lua)] as const);
  const getters = texts.map(([name, lua]) => {
    const hash = createHash('sha1').update(lua).digest('hex');
    return `get ${JSON.stringify(name)}() { return withHash(${JSON.stringify(lua)}, '${hash}'); }`;
  });
  const contents = `
    export const hashes = new Map();
    const withHash = (lua, hash) => {
      hashes.set(lua, hash);
      return lua;
    };
    export const sources = { ${getters.join(', ')} };`;
  return {
    name: 'inline-lua',
    setup(bundler) {
      bundler.onLoad({ filter: /[\\/]lua\.ts$/ }, ({ path }) =>
        path === resolve(root, SOURCES) ? { contents, loader: 'js' } : undefined,
      );
    },
  };
}

/**
 * A script without its comments and indentation, a third of its text. Every statement stays in its line, which the errors of Redis
 * name. Throws `Error` for a long bracket, in which both would be part of a value.
 */
export function compactLua(lua: string): string {
  const strings = /'(?:\\[^]|[^'\\])*'|"(?:\\[^]|[^"\\])*"/.source;
  return lua
    .replaceAll(new RegExp(`${strings}|(?:--)?\\[=*\\[|--.*`, 'g'), (token) => {
      if (token.endsWith('[')) throw new Error(`a script has the long bracket ${token}: use '' or --`);
      return token.startsWith('--') ? '' : token;
    })
    .replaceAll(/^[ \t]+|[ \t]+$/gm, '');
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
  const literal = [
    ...text.matchAll(/\bscript\([^,']+,\s*'([\w-]+)'|\bscriptOf\w+\('([\w-]+)'|\bsources\['([\w-]+)'\]/g),
  ];
  const uses = text.match(/\bscript(?:Of\w+)?\(|\bsources\[/g) ?? [];
  if (!RUNNERS.has(path) && literal.length !== uses.length)
    throw new Error(
      `${path} names a script by an expression: name it by a literal, as script(redis, 'turn')`,
    );
  return literal.map(([, called, bound, read]) => called ?? bound ?? read ?? '');
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
        const { hashes } = require('./${SOURCES}');
        const computed = (name, lua, form) =>
          process.getBuiltinModule('node:crypto').createHash(name).update(lua).digest(form);
        exports.createHash = (name) => ({
          update: (lua) => ({ digest: (form) => hashes.get(lua) ?? computed(name, lua, form) }),
        });`,
      resolveDir: root,
      loader: 'js',
    }));
  },
};
