/** The Lua scripts in a bundle, or in a file beside it: their sources as texts, and their hashes. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Metafile, Plugin, PluginBuild } from 'esbuild';
import { sources } from '../queue/scripts/lua.ts';

const root = resolve(import.meta.dirname, '..');
/** The module that has the sources, and those that run them. */
const SOURCES = 'queue/scripts/lua.ts';
const RUNNERS = new Set([
  'queue/scripts/scripts.ts',
  'queue/scripts/fixed-keys.ts',
  'queue/workers/worker-scripts.ts',
]);
/** What defines a script on a connection. */
const IOREDIS_SCRIPT = /[\\/]ioredis[\\/]built[\\/]Script\.js$/;

const hashOf = (lua: string): string => createHash('sha1').update(lua).digest('hex');

/** Replaces the module that reads the sources from their files. A text is made when its script is first called: most are not. */
export const inlineLua: Plugin = {
  name: 'inline-lua',
  setup(bundler) {
    const getters = Object.entries(sources).map(([name, source]) => {
      const lua = compactLua(source);
      return `get ${JSON.stringify(name)}() { return withHash(${JSON.stringify(lua)}, '${hashOf(lua)}'); }`;
    });
    replaceSources(
      bundler,
      `export const hashes = new Map();
      const withHash = (lua, hash) => {
        hashes.set(lua, hash);
        return lua;
      };
      export const sources = { ${getters.join(', ')} };
      export const textOf = (source) => source;`,
    );
  },
};

/**
 * The scripts with these names as one file, `text`, and a plugin that replaces them by their names: a server is sent a text once on each
 * connection, which is then read from the file, by `__readLua(position, length)`. Texts in a bundle stay in memory, twice if they are called.
 * The file ends with the hash of all that is before, by which the program knows it (`__checkLua(position, hash)`): the texts of another build
 * would be cut elsewhere.
 */
export function luaInFile(names: ReadonlySet<string>): { readonly text: string; readonly plugin: Plugin } {
  const texts = Object.entries(sources)
    .filter(([name]) => names.has(name))
    .map(([name, lua]) => ({ name, lua: compactLua(lua) }));
  const all = texts.map(({ lua }) => lua).join('');
  const hash = hashOf(all);
  let end = 0;
  const places = texts.map(({ name, lua }) => {
    const length = Buffer.byteLength(lua);
    end += length;
    return [name, [end - length, length]];
  });
  const contents = `
    __checkLua(${end}, '${hash}');
    const places = ${JSON.stringify(Object.fromEntries(places))};
    export const hashes = new Map(${JSON.stringify(texts.map(({ name, lua }) => [name, hashOf(lua)]))});
    export const sources = Object.fromEntries(Array.from(hashes.keys(), (name) => [name, name]));
    export const textOf = (name) => __readLua(...places[name]);`;
  return {
    text: all + hash,
    plugin: {
      name: 'lua-in-file',
      setup(bundler) {
        replaceSources(bundler, contents);
        bundler.onLoad({ filter: IOREDIS_SCRIPT }, ({ path }) => ({
          contents: withTextWhenSent(readFileSync(path, 'utf8')),
          loader: 'js',
        }));
      },
    },
  };
}

function replaceSources(bundler: PluginBuild, contents: string): void {
  bundler.onLoad({ filter: /[\\/]lua\.ts$/ }, ({ path }) =>
    path === resolve(root, SOURCES) ? { contents, loader: 'js' } : undefined,
  );
}

/** A script of ioredis that takes its text whenever it sends it. Throws `Error` if it is compiled in another way. */
export function withTextWhenSent(code: string): string {
  const before = 'this.args[0] = lua;';
  if (code.split(before).length !== 2)
    throw new Error('the scripts of ioredis have changed: see withTextWhenSent');
  return code.replace(
    before,
    `this.args[0] = require(${JSON.stringify(resolve(root, SOURCES))}).textOf(lua);`,
  );
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
      IOREDIS_SCRIPT.test(importer) ? { path, namespace: 'hashes' } : undefined,
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
