/**
 * Starts the bundled worker in its image from V8's cached code: that halves the processor time of a start, which is
 * scaling latency, ten times over when ten pods start on one node. Node's own compile cache holds only what was compiled
 * before anything ran, a fifth of it.
 *
 * The first start that may write stores what it has compiled by its end, which is how the image is built. V8 rejects code of
 * another version and damaged files, and the worker then starts without it.
 */
import { openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Script } from 'node:vm';
import { performance } from './performance.ts';

const folder = dirname(process.argv[1] ?? '');
const program = join(folder, 'worker.body.js');
const kept = join(folder, 'compiled', 'worker');

function readKept(): Buffer | undefined {
  try {
    return readFileSync(kept);
  } catch {
    return undefined;
  }
}

/** Frees the memory of a file that has been read: a megabyte that nothing would collect while the worker is idle. */
function release(bytes: Buffer): void {
  // a small buffer shares its memory with others
  if (bytes.length === bytes.buffer.byteLength) (bytes.buffer as ArrayBuffer).transfer(0);
}

const luaPath = join(folder, 'worker.lua');

/** Ends the process: it is no worker without its scripts. */
function refuse(why: string): never {
  process.stderr.write(`millrace-worker: ${why}: copy all files of one build of the worker's image\n`);
  process.exit(1);
}

/** Open from the start, so that a server which has forgotten a script gets it where tasks have used up all file descriptors. */
function openLua(): number {
  try {
    return openSync(luaPath, 'r');
  } catch (error) {
    return refuse(`cannot read its Lua scripts (${(error as Error).message})`);
  }
}

const luaFile = openLua();

/** A part of the file, by bytes. Throws if it cannot be read. */
function readLua(position: number, length: number): string {
  const bytes = Buffer.allocUnsafeSlow(length);
  if (readSync(luaFile, bytes, 0, length, position) < length) throw new Error(`${luaPath} ends too early`);
  const text = bytes.toString();
  release(bytes);
  return text;
}

/** Whether the file is the one that was built with the worker: it ends with this hash, which begins there. */
function checkLua(position: number, hash: string): void {
  let found: string | undefined;
  try {
    found = readLua(position, hash.length);
  } catch {
    // it is shorter, or no file
  }
  if (found !== hash) refuse(`${luaPath} is not the file that was built with the worker`);
}

const cachedData = readKept();
const source = readFileSync(program);
// the bundler writes nothing but ASCII, for which this is the fastest
const script = new Script(source.toString('latin1'), {
  filename: program,
  ...(cachedData && { cachedData }),
});
release(source);
if (!cachedData)
  process.once('exit', () => {
    try {
      writeFileSync(kept, script.createCachedData());
    } catch {
      // the folder is read-only: the next start takes as long as this one
    }
  });
if (cachedData) release(cachedData);
type Start = (
  require: NodeJS.Require,
  module: { exports: object },
  importModule: (url: string) => Promise<unknown>,
  clock: typeof performance,
  lua: typeof readLua,
  check: typeof checkLua,
) => void;
const start = script.runInThisContext() as Start;
start(createRequire(program), { exports: {} }, (url) => import(url), performance, readLua, checkLua);
