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
import { sources } from '../queue/scripts/lua.ts';
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

const inlineLua: Plugin = {
  name: 'inline-lua',
  setup(bundler) {
    const file = resolve(root, 'queue/scripts/lua.ts');
    bundler.onLoad({ filter: /[\\/]lua\.ts$/ }, ({ path }) =>
      path === file
        ? { contents: `export const sources = ${JSON.stringify(sources)};`, loader: 'js' }
        : undefined,
    );
  },
};

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
        write: false,
      });
      const text = JSON.stringify(outputFiles[0]?.text);
      return { contents: `export const entry = { code: ${text}, eval: true };`, loader: 'js' };
    });
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
const HEAVY = new Set(['crypto', 'http', 'https', 'tls', 'zlib']);

/**
 * An `import` of a built-in module makes Node read each of its exports, and reading those of node:http loads an HTTP/2 client:
 * 20 ms of a worker's start. Taken as an object, it stays as lazy as Node made it. Heavy ones are an empty object whose
 * prototype loads the module when something of it is looked for.
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
      contents: `module.exports = ${module(path)};`,
      loader: 'js',
    }));
    bundler.onLoad({ filter: /./, namespace: 'heavy' }, ({ path }) => ({
      contents: onDemand(module(path)),
      loader: 'js',
    }));
  },
};

/** An empty object whose prototype loads a module, by this expression, on the first access. */
const onDemand = (module: string): string => `
  const has = (_, name) => name in ${module};
  const get = (_, name) => ${module}[name];
  module.exports = Object.create(new Proxy({}, { has, get }));`;

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

/** Options that all bundles share. */
function common(): BuildOptions & { readonly metafile: true } {
  return {
    absWorkingDir: root,
    bundle: true,
    platform: 'node',
    target: 'node24',
    minify: true,
    keepNames: true,
    legalComments: 'none',
    define: { MILLRACE_VERSION: JSON.stringify(manifestOf(root).version) },
    plugins: [inlineLua, inlineThreads, inlineInit, inlinePage, lazyUndici, lazyBuiltins],
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
 * launcher, `worker.launch.js`, and the container's first process, `worker.init.sh`.
 * Rejects when esbuild fails, with its messages.
 */
export async function bundleLaunched(): Promise<void> {
  await build({
    ...common(),
    entryPoints: ['worker/main.ts'],
    outfile: resolve(outputFolder, 'worker.body.js'),
    format: 'cjs',
    banner: { js: `${noticeFor('worker')}\n(function (require, module) {` },
    footer: { js: '})' },
    // the version is defined, so it is not read from a file beside the bundle
    logOverride: { 'empty-import-meta': 'silent' },
  });
  await build({
    ...common(),
    entryPoints: ['worker/process/launch.ts'],
    outfile: resolve(outputFolder, 'worker.launch.js'),
    format: 'cjs',
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
