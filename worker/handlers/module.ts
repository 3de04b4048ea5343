/**
 * `worker/handlers/`: the ways to run the user's code: each takes its configuration and returns a `Handler`. They know
 * nothing of Redis, turns or leases.
 *
 * A handler from a module of the user's: its default export is the function that runs a task. Anything that Node can import
 * works, TypeScript with erasable types included. A module that cannot be used is reported in one line with the place of the
 * mistake, because that line is the last one in a pod's log.
 */
import { spawn } from 'node:child_process';
import { statSync, writeSync, type Stats } from 'node:fs';
import { extname, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { failurePrefix, WORKER_PROGRAM } from '../../runtime/failure-line.ts';
import { formatDuration } from '../../runtime/duration.ts';
import { timeout } from '../../runtime/timers.ts';
import { describeError } from '../../runtime/describe-error.ts';
import type { Handler, OpenHandler } from '../task/handler.ts';
import { HandlerLoadError } from './errors.ts';
import { importModule } from './import-module.ts';

const EXTENSIONS = ['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs'];

export interface ModuleLimits {
  /** Time limit for loading it, ms; 0 for none. */
  readonly timeoutMs: number;
  /** Ends the wait for it. */
  readonly stopping: AbortSignal;
}

/**
 * Imports the module at `path`, relative to `cwd`. If `stopping` aborts before it is loaded, the returned handler runs nothing.
 *
 * Throws `HandlerLoadError` when there is no such file, when it fails to load, or not in time, when it awaits something that
 * never settles, or when its default export is not a function.
 */
export async function openModule(path: string, cwd: string, limits?: ModuleLimits): Promise<OpenHandler> {
  const file = resolve(cwd, path);
  expectFile(path, file);
  const loading = load(path, file);
  const loaded = limits ? await inTime(path, loading, limits) : await loading;
  if (loaded === STOPPED) return { handle: notLoaded, [Symbol.asyncDispose]: () => Promise.resolve() };
  const handle = defaultExport(loaded);
  if (!isHandler(handle)) {
    const found = handle === undefined ? 'no default export' : `a default export that is ${kindOf(handle)}`;
    throw new HandlerLoadError(
      `module ${path} has ${found}: write \`export default async (task, context) => result\``,
    );
  }
  return { handle, [Symbol.asyncDispose]: () => Promise.resolve() };
}

const STOPPED = Symbol('stopped');

function notLoaded(): never {
  throw new HandlerLoadError('the worker was stopped before its module was loaded');
}

/**
 * A top-level await that can never settle would end the process silently with exit code 0, or keep it forever without a task. A
 * module that calls `process.exit` would look like a worker that has finished.
 */
function inTime(
  path: string,
  loading: Promise<unknown>,
  { timeoutMs, stopping }: ModuleLimits,
): Promise<unknown> {
  const leaving = (code: number): void => {
    writeSync(
      2,
      `${failurePrefix(WORKER_PROGRAM)}module ${path} ended the process with exit code ${code} while it loaded\n`,
    );
    if (code === 0) process.exitCode = 1;
  };
  process.once('exit', leaving);
  return new Promise<unknown>((take, refuse) => {
    const never = (): void =>
      refuse(
        new HandlerLoadError(
          `module ${path} does not load: a top-level await in it, or in what it imports, waits for something that never settles`,
        ),
      );
    const late = (): void => {
      const limit = formatDuration(timeoutMs);
      refuse(new HandlerLoadError(`module ${path} was not loaded within ${limit}: see --module-timeout`));
    };
    const stop = (): void => take(STOPPED);
    const timer = timeout(timeoutMs || Infinity, late).unref();
    process.once('beforeExit', never);
    stopping.addEventListener('abort', stop);
    if (stopping.aborted) stop();
    void loading.then(take, refuse).finally(() => {
      timer.clear();
      process.off('beforeExit', never);
      stopping.removeEventListener('abort', stop);
    });
  }).finally(() => process.off('exit', leaving));
}

function expectFile(path: string, file: string): void {
  const found = statOf(path, file);
  if (!found.isFile())
    throw new HandlerLoadError(`module ${path} is not a file: name the file inside ${file}`);
  if (!EXTENSIONS.includes(extname(file))) {
    throw new HandlerLoadError(`module ${path} has the wrong extension: use one of ${EXTENSIONS.join(' ')}`);
  }
}

function statOf(path: string, file: string): Stats {
  try {
    return statSync(file);
  } catch (cause) {
    throw new HandlerLoadError(`module ${path} does not exist: ${file}`, { cause });
  }
}

async function load(path: string, file: string): Promise<unknown> {
  try {
    return await importModule(pathToFileURL(file).href);
  } catch (cause) {
    const stack = cause instanceof Error ? (cause.stack ?? '') : '';
    const syntax = cause instanceof SyntaxError ? await syntaxCheck(file) : '';
    const place = placeIn(stack, file) || placeIn(syntax, file);
    throw new HandlerLoadError(`module ${path} does not load${place}: ${firstLine(cause)}`, { cause });
  }
}

/** Compilers to CommonJS put `export default` at `exports.default`, which an import sees one level down. */
function defaultExport(namespace: unknown): unknown {
  const exported = property(namespace, 'default');
  return property(exported, '__esModule') === true ? property(exported, 'default') : exported;
}

function property(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
}

function isHandler(value: unknown): value is Handler {
  return typeof value === 'function';
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return `${typeof value === 'object' ? 'an' : 'a'} ${typeof value}`;
}

/**
 * Node's report about the syntax of a file. For a syntax error in an imported ES module, the error lacks the position; `node
 * --check` prints it.
 */
async function syntaxCheck(file: string): Promise<string> {
  const node = spawn(process.execPath, ['--check', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  return await text(node.stderr).catch(() => '');
}

/**
 * The position of an error: the first line of its stack in a file of the user's. If that is not the module itself, the file is
 * named.
 */
function placeIn(stack: string, file: string): string {
  for (const [, url, path, line] of stack.matchAll(
    /(file:\/\/[^\s:]+|(?:^|(?<=[\s(]))(\/[^\n:]+)):(\d+)/gm,
  )) {
    const named = path ?? (url === undefined ? '' : toPath(url));
    if (named === file) return ` (line ${line})`;
    if (named !== '' && !named.includes('/node_modules/')) return ` (${named}, line ${line})`;
  }
  return '';
}

function toPath(url: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    return '';
  }
}

function firstLine(cause: unknown): string {
  if (!(cause instanceof Error)) return describeError(cause);
  const message = cause.message.split('\n').find((line) => line.trim() !== '') ?? '';
  return message === '' ? cause.name : `${cause.name}: ${message.trim()}`;
}
