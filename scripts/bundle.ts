/**
 * Bundles each program into one self-contained file, dist/bundle/<name>.js, and writes beside it the licenses of
 * everything it contains, <name>.licenses.txt. A program that is one file starts faster than one that resolves
 * hundreds, and start-up is scaling latency; the worker's image goes further (worker/process/launch.ts). Files that a single-file
 * bundle cannot read, Lua sources and the code of a thread, are inlined.
 */
import { cpSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { relative, resolve } from 'node:path';
import { build, type BuildOptions, type Metafile, type Plugin } from 'esbuild';
import {
  commandsIn,
  ioredisCommands,
  ioredisRewritten,
  noCommands,
  type KnownCommands,
} from './bundle-ioredis.ts';
import { inlineLua, knownHashes, luaInFile, scriptsIn } from './bundle-lua.ts';
import { buildPage, PACKAGES } from './page.ts';
import { runScript } from './script.ts';

const root = resolve(import.meta.dirname, '..');
const outputFolder = resolve(root, 'dist/bundle');

/** The programs; each starts with the main.ts of its folder. */
const programs = ['worker', 'controller', 'cli'] as const;
type Program = (typeof programs)[number];

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
}

function manifestOf(folder: string): Manifest {
  const manifest: Manifest = JSON.parse(readFileSync(resolve(folder, 'package.json'), 'utf8'));
  return manifest;
}

/** Threads, by the module that locates their code: each is a separate program, which a single-file bundle has as text. */
const threads: Readonly<Record<string, string>> = {
  'worker/lease/lease-entry.ts': 'worker/lease/lease-thread.ts',
};

const inlineThreads: Plugin = {
  name: 'inline-threads',
  setup(bundler) {
    bundler.onLoad({ filter: /-entry\.ts$/ }, async ({ path }) => {
      const code = threads[relative(root, path)];
      if (code === undefined) return undefined;
      const { outputFiles } = await build({
        entryPoints: [resolve(root, code)],
        bundle: true,
        platform: 'node',
        target: 'node24',
        format: 'cjs',
        minify: true,
        plugins: [lazyBuiltins],
        write: false,
      });
      const text = JSON.stringify(outputFiles[0]?.text);
      return { contents: `export const entry = { code: ${text}, eval: true };`, loader: 'js' };
    });
  },
};

/** Modules are imported by the launcher, which is a parameter of the function that it calls. */
const launcherImport: Plugin = {
  name: 'launcher-import',
  setup(bundler) {
    bundler.onLoad({ filter: /[\\/]handlers[\\/]import-module\.ts$/ }, () => ({
      contents: 'export const importModule = __import;',
      loader: 'js',
    }));
  },
};

/** The worker as the first process of a container. */
const inlineInit: Plugin = {
  name: 'inline-init',
  setup(bundler) {
    const file = resolve(root, 'worker/process/init-script.ts');
    bundler.onLoad({ filter: /[\\/]init-script\.ts$/ }, ({ path }) => {
      if (path !== file) return undefined;
      const text = JSON.stringify(readFileSync(resolve(root, 'worker/process/init.sh'), 'utf8'));
      return { contents: `export const initScript = () => ${text};`, loader: 'js' };
    });
  },
};

/** The dashboard's page is part of the program that serves it. */
const inlinePage: Plugin = {
  name: 'inline-page',
  setup(bundler) {
    const file = resolve(root, 'controller/dashboard/assets.ts');
    bundler.onLoad({ filter: /[\\/]assets\.ts$/ }, async ({ path }) => {
      if (path !== file) return undefined;
      const files = [...(await buildPage())].map(([name, contents]) => [name, contents.toString()]);
      const contents = `
        const files = ${JSON.stringify(files)};
        export const loadAssets = async () => new Map(files.map(([name, text]) => [name, Buffer.from(text)]));`;
      return { contents, loader: 'js' };
    });
  },
};

/** Built-in modules that packages load at start-up and most workers never need: 4 MB of memory of an idle one. */
const HEAVY = new Set([
  'assert',
  'child_process',
  'crypto',
  'dns',
  'fs/promises',
  'http',
  'https',
  'stream/consumers',
  'stream/promises',
  'tls',
  'v8',
  'worker_threads',
  'zlib',
]);

/**
 * An `import` of a built-in module makes Node read each of its exports, and reading those of node:http loads an HTTP/2 client:
 * 20 ms of a worker's start. Taken as an object, it stays as lazy as Node made it. Heavy ones are loaded when they are called, or
 * when something of them is looked for.
 */
const lazyBuiltins: Plugin = {
  name: 'lazy-builtins',
  setup(bundler) {
    bundler.onResolve({ filter: /^[a-z]/ }, ({ kind, path }) => {
      if (!isBuiltin(path)) return undefined;
      if (HEAVY.has(path.replace(/^node:/, ''))) return { path, namespace: 'heavy' };
      return kind === 'import-statement' ? { path, namespace: 'builtin' } : undefined;
    });
    const module = (path: string): string => `process.getBuiltinModule(${JSON.stringify(path)})`;
    bundler.onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = Object.create(${module(path)});`,
      loader: 'js',
    }));
    bundler.onLoad({ filter: /./, namespace: 'heavy' }, ({ path }) => ({
      contents: onDemand(module(path)),
      loader: 'js',
    }));
  },
};

/** What calls a module, by this expression, and whose prototype loads it on the first access. */
const onDemand = (module: string): string => `
  const has = (_, name) => name in ${module};
  const get = (_, name) => ${module}[name];
  const call = (...args) => ${module}(...args);
  module.exports = Object.setPrototypeOf(call, new Proxy({}, { has, get }));`;

/** Packages, and parts of them, that only cost time in a bundle, and what stands in for them. */
const replaced: readonly (readonly [file: RegExp, contents: string])[] = [
  // ioredis' own client for clusters and its sentinel connector, which nothing here uses (queue/connection)
  [/[\\/]ioredis[\\/]built[\\/]cluster[\\/]index\.js$/, 'exports.default = class {};'],
  [
    /[\\/]ioredis[\\/]built[\\/]connectors[\\/]SentinelConnector[\\/]index\.js$/,
    'exports.default = class {};',
  ],
  // it opens stderr as a terminal to find out whether that has colours, and prints passwords if it is asked to
  [
    /[\\/]debug[\\/]src[\\/]index\.js$/,
    // called as its default export, and as the module itself where an ES module imports it
    `module.exports = () => Object.assign(() => undefined, { enabled: false });
    module.exports.default = module.exports;`,
  ],
  // the types of all resources of Kubernetes, of which the client library builds and reads the objects of its own calls; KubeConfig and PortForward make none
  [
    /[\\/]client-node[\\/]dist[\\/]gen[\\/]models[\\/](all|ObjectSerializer)\.js$/,
    'export class ObjectSerializer {}',
  ],
];

const replacedPackages: Plugin = {
  name: 'replaced-packages',
  setup(bundler) {
    for (const [filter, contents] of replaced) bundler.onLoad({ filter }, () => ({ contents, loader: 'js' }));
  },
};

/** The client library loads undici for proxies and logs, which few use: a third of the bundle, and 4 MB of memory. */
const lazyUndici: Plugin = {
  name: 'lazy-undici',
  setup(bundler) {
    bundler.onResolve({ filter: /^undici$/ }, ({ path, namespace }) =>
      namespace === 'on-demand' ? undefined : { path, namespace: 'on-demand' },
    );
    bundler.onLoad({ filter: /./, namespace: 'on-demand' }, ({ path }) => ({
      contents: onDemand(`require(${JSON.stringify(path)})`),
      resolveDir: resolve(root, 'node_modules/@kubernetes/client-node'),
      loader: 'js',
    }));
  },
};

/** A worker needs one class of prom-client, which takes its metrics from runtime/metrics.ts; a tenth of its code is the others. */
const registryOnly: Plugin = {
  name: 'registry-only',
  setup(bundler) {
    bundler.onLoad({ filter: /[\\/]prom-client[\\/]index\.js$/ }, () => ({
      contents: "exports.Registry = require('./lib/registry');",
      loader: 'js',
    }));
  },
};

/** The folders of the packages that are part of a bundle, in the order of their paths. */
function packagesIn(metafile: Metafile): string[] {
  const folders = Object.values(metafile.outputs)
    .flatMap((output) => Object.entries(output.inputs))
    .filter(([, input]) => input.bytesInOutput > 0)
    .map(([path]) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0])
    .filter((folder) => folder !== undefined);
  return [...new Set(folders)].toSorted();
}

function licenseOf(folder: string): string {
  const manifest = manifestOf(resolve(root, folder));
  const texts = readdirSync(resolve(root, folder))
    .filter((file) => /^(licen[cs]e|notice|copying)/i.test(file))
    .map((file) => readFileSync(resolve(root, folder, file), 'utf8').trim());
  return [`${manifest.name} ${manifest.version}: ${manifest.license ?? 'see below'}`, ...texts].join('\n\n');
}

/** What a bundle contains of what it could call. */
interface Contents {
  /** Where its Lua scripts are. */
  readonly lua: Plugin;
  /** All by default. */
  readonly commands?: KnownCommands;
}

/** Options that all bundles share. */
function common(
  { lua, commands }: Contents = { lua: inlineLua },
): BuildOptions & { readonly metafile: true; readonly plugins: Plugin[] } {
  return {
    absWorkingDir: root,
    bundle: true,
    platform: 'node',
    target: 'node24',
    // names stay as in the source: `keepNames` defines that of each function when it is created, which takes longer than the rest of
    // that, and 255 bytes for as long as the function stays
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    define: { MILLRACE_VERSION: JSON.stringify(manifestOf(root).version) },
    plugins: [
      knownHashes,
      ioredisCommands(commands),
      ioredisRewritten,
      replacedPackages,
      lua,
      inlineThreads,
      inlineInit,
      inlinePage,
      lazyUndici,
      lazyBuiltins,
    ],
    metafile: true,
    logLevel: 'warning',
  };
}

function noticeFor(name: Program): string {
  const { version, license } = manifestOf(root);
  return `/*! Millrace ${version}, ${license}; the licenses of the packages in this file: ${name}.licenses.txt */`;
}

/**
 * Bundles one program.
 * @returns the size of the bundle in bytes.
 * Rejects when esbuild fails, with its messages.
 */
export async function bundle(name: Program, entry = `${name}/main.ts`): Promise<number> {
  const outfile = resolve(outputFolder, `${name}.js`);
  const { metafile } = await build({
    ...common(),
    entryPoints: [entry],
    outfile,
    format: 'esm',
    banner: {
      // globals that CommonJS packages expect
      js: [
        noticeFor(name),
        `import { createRequire as __createRequire } from 'node:module';`,
        `const require = __createRequire(import.meta.url);`,
      ].join('\n'),
    },
  });
  const served = Object.keys(metafile.inputs).includes('controller/dashboard/assets.ts');
  const pagePackages = served ? PACKAGES.map((folder) => `node_modules/${folder}`) : [];
  const rule = `\n\n${'-'.repeat(80)}\n\n`;
  writeFileSync(
    resolve(outputFolder, `${name}.licenses.txt`),
    `${[...packagesIn(metafile), ...pagePackages].map(licenseOf).join(rule)}\n`,
  );
  return metafile.outputs[relative(root, outfile)]?.bytes ?? 0;
}

/**
 * Bundles the worker once more for its image: as the function that worker/process/launch.ts calls, `worker.body.js`, that
 * launcher, `worker.launch.js`, the Lua scripts that a worker runs, `worker.lua`, what the build of the image runs, `worker.warm-up.js`, and the
 * container's first process, `worker.init.sh`. The function knows the commands that a worker sends, and no others.
 * Rejects when esbuild fails, with its messages.
 */
export async function bundleLaunched(): Promise<void> {
  const body = (contents: Contents): BuildOptions & { readonly metafile: true } => ({
    ...common(contents),
    entryPoints: ['worker/main.ts'],
    outfile: resolve(outputFolder, 'worker.body.js'),
    format: 'cjs',
    plugins: [launcherImport, registryOnly, ...common(contents).plugins],
    banner: {
      js: `${noticeFor('worker')}\n(function (require, module, __import, performance, __readLua, __checkLua) {`,
    },
    footer: { js: '})' },
    // the version is defined, so it is not read from a file beside the bundle
    logOverride: { 'empty-import-meta': 'silent' },
  });
  const { metafile, outputFiles } = await build({
    ...body({ lua: luaInFile(new Set()).plugin, commands: noCommands }),
    write: false,
  });
  const code = outputFiles.map(({ text }) => text).join('');
  const lua = luaInFile(scriptsIn(metafile));
  await build(body({ lua: lua.plugin, commands: commandsIn(code) }));
  writeFileSync(resolve(outputFolder, 'worker.lua'), lua.text);
  for (const name of ['launch', 'warm-up'])
    await build({
      ...common(),
      entryPoints: [`worker/process/${name}.ts`],
      outfile: resolve(outputFolder, `worker.${name}.js`),
      format: 'cjs',
      define: { 'import.meta.dirname': '__dirname' },
    });
  cpSync(resolve(root, 'worker/process/init.sh'), resolve(outputFolder, 'worker.init.sh'));
}

if (import.meta.main)
  await runScript('bundle.ts', 'Bundles each program into one file under dist/bundle.', async () => {
    for (const name of programs) {
      const bytes = await bundle(name);
      console.log(`dist/bundle/${name}.js  ${(bytes / 1024).toFixed(0)} KiB`);
    }
  });
