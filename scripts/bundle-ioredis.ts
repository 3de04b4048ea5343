/** ioredis in a bundle: fast to load, and for the worker's image without the commands that it never sends. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Plugin } from 'esbuild';

/** The commands of Redis that a bundle knows. */
export interface KnownCommands {
  /** Methods of a client. */
  readonly methods: ReadonlySet<string>;
  /** Commands whose keys and flags ioredis knows. */
  readonly described: ReadonlySet<string>;
}

export const noCommands: KnownCommands = { methods: new Set(), described: new Set() };

/**
 * The commands that code may send: as methods, what it has after a dot; described, every word of it. `code`: the text of a bundle
 * with neither commands nor Lua scripts.
 */
export function commandsIn(code: string): KnownCommands {
  const words = Array.from(code.matchAll(/(\.?)(?<![\w$])(\w+?)(?:Buffer)?(?![\w$])/g));
  return {
    methods: new Set(words.filter(([, dot]) => dot).map(([, , word = '']) => word)),
    described: new Set(words.map(([, , word = '']) => word.toLowerCase())),
  };
}

/**
 * The decoder of ioredis with its private members as ordinary ones: it was compiled for engines that have none, and reading each through
 * a function and a WeakMap takes three times as long. Throws `Error` if it is compiled in another way.
 */
export function withPlainMembers(code: string): string {
  const set = /__classPrivateFieldSet\(this, (\w+), ((?:(?!__classPrivateFieldSet)[^])*?), "f"\)/g;
  let plain = code
    .replaceAll(/__classPrivateFieldGet\(this, \w+_instances, "m", (\w+)\)/g, '$1')
    .replaceAll(/__classPrivateFieldGet\(_a, _a, "f", (\w+)\)/g, '$1.value')
    .replaceAll(/__classPrivateFieldGet\(this, (\w+), "f"\)/g, 'this.$1')
    .replaceAll(/^( *)(\w+)\.set\(this, (.*)\);$/gm, '$1this.$2 = $3;')
    .replaceAll(/^ *\w+_instances\.add\(this\);$/gm, '');
  // the value of one may contain another
  while (set.test(plain)) plain = plain.replaceAll(set, '(this.$1 = $2)');
  const left = plain.match(/__classPrivateField\w+\(/g) ?? [];
  if (plain === code || left.length > 0)
    throw new Error('the decoder of ioredis has changed: see withPlainMembers');
  return plain;
}

/**
 * The check of a new connection, with the fields of INFO that it needs: of all 200 of them it would make an object, 70 kB that nothing
 * collects while a worker is idle. Throws `Error` if it has another form.
 */
export function withBriefInfo(code: string): string {
  const before = 'const lines = res.split("\\r\\n");';
  if (code.split(before).length !== 2)
    throw new Error('the ready check of ioredis has changed: see withBriefInfo');
  return code.replace(
    before,
    'const lines = res.match(/^(?:role|loading|loading_eta_seconds):.*$/gm) ?? [];',
  );
}

/** The commands that are methods, as code. `path`: a file of ioredis. */
function methodsIn(path: string, { methods }: KnownCommands): string {
  const { list } = createRequire(path)('@ioredis/commands') as { readonly list: readonly string[] };
  return JSON.stringify(list.filter((name) => methods.has(name)));
}

/** Files of ioredis, by the end of their paths, and what is done to their code. */
const rewritten: readonly (readonly [file: RegExp, rewrite: (code: string) => string])[] = [
  [/[\\/]ioredis[\\/]built[\\/]resp[\\/]decoder\.js$/, withPlainMembers],
  [/[\\/]ioredis[\\/]built[\\/]Redis\.js$/, withBriefInfo],
];

export const ioredisRewritten: Plugin = {
  name: 'ioredis-rewritten',
  setup(bundler) {
    for (const [filter, rewrite] of rewritten)
      bundler.onLoad({ filter }, ({ path }) => ({
        contents: rewrite(readFileSync(path, 'utf8')),
        loader: 'js',
      }));
  },
};

/**
 * ioredis gives a prototype two methods for each of 300 commands, one by one, and V8 copies the description of all of them each time:
 * 7 ms of a worker's start. After a deletion V8 keeps the prototype as a table until it is used. `known`: the commands to keep; all by
 * default.
 */
export function ioredisCommands(known?: KnownCommands): Plugin {
  return {
    name: 'ioredis-commands',
    setup(bundler) {
      bundler.onLoad({ filter: /[\\/]ioredis[\\/]built[\\/]utils[\\/]Commander\.js$/ }, ({ path }) => {
        const before = 'commands.forEach(';
        const text = readFileSync(path, 'utf8');
        if (text.split(before).length !== 2) throw new Error(`${path} has changed: see ioredisCommands`);
        const asTable = 'Commander.prototype.table = true; delete Commander.prototype.table;';
        const kept = known
          ? `commands.filter((name) => ${methodsIn(path, known)}.includes(name))`
          : 'commands';
        return { contents: text.replace(before, `${asTable} ${kept}.forEach(`), loader: 'js' };
      });
      if (!known) return;
      bundler.onLoad({ filter: /[\\/]@ioredis[\\/]commands[\\/]built[\\/]commands\.json$/ }, ({ path }) => {
        const all = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
        const kept = Object.entries(all).filter(([name]) => known.described.has(name));
        return { contents: JSON.stringify(Object.fromEntries(kept)), loader: 'json' };
      });
    },
  };
}
