/**
 * The file of `millrace map --resume`: the results so far, so that the same command continues after Ctrl-C, a crash or a power cut,
 * and prints all results again. Lines of JSON, the first one a heading; a line that a crash has cut short is removed.
 *
 * A result is found by the number of its line, and given only for the same line: the file has a fingerprint of each. In memory are
 * 12 bytes for each line of the input.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { open, type FileHandle } from 'node:fs/promises';
import { isUtf8 } from 'node:buffer';
import { createServer } from 'node:net';
import { UsageError } from '../../runtime/program.ts';
import { rawLineBatches } from '../commands/line-batches.ts';
import type { Done, Line } from './lines.ts';

export interface Journal extends AsyncDisposable {
  /** Lines with a result. */
  readonly size: number;
  /** The result of a line. Throws `UsageError` if the line of that number was another one. */
  recall(line: Line): Promise<Buffer | undefined>;
  /** Resolves when these are written. Failed lines are not kept: they are run again. */
  add(done: readonly Done[]): Promise<void>;
}

const HEADING = '{"format":"millrace-map","version":1}';

/** `of`: fingerprint of the line; `base64`: a result that is not UTF-8. */
type Entry = { readonly line: number; readonly of: string } & (
  | { readonly result: string }
  | { readonly base64: string }
);

/** Opens the file, or creates it. Throws `UsageError` if it cannot be used, or is something else. */
export async function openJournal(path: string): Promise<Journal> {
  const file = await openFile(path);
  try {
    if (!(await file.stat()).isFile())
      throw new UsageError(`${path} is no file that results can be kept in: name another one for --resume`);
    await using stack = new AsyncDisposableStack();
    stack.use(await lock(file, path));
    const index = createIndex();
    const end = await readIndex(file, path, index);
    await file.truncate(end);
    stack.defer(() => file.close());
    const owned = stack.move();
    return createJournal({ file, path, index, end, close: () => owned.disposeAsync() });
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    // not for appending only, as it is cut where a crash has left half a line
    return await open(path, 'r+').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return open(path, 'wx+');
      throw error;
    });
  } catch (error) {
    throw new UsageError(`the file of --resume cannot be opened: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/**
 * Two runs would write over each other. A socket that is named after the file is the lock, because the kernel removes it with its process,
 * however that ends; where there are no such sockets, nothing is locked.
 */
async function lock(file: FileHandle, path: string): Promise<AsyncDisposable> {
  if (process.platform !== 'linux') return { [Symbol.asyncDispose]: () => Promise.resolve() };
  const { dev, ino } = await file.stat({ bigint: true });
  const server = createServer().unref();
  try {
    await once(server.listen(`\0millrace-map-${dev}-${ino}`), 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new UsageError(
      `${path} is in use by another millrace map: wait for its end, or name another file for --resume`,
      { cause: error },
    );
  }
  return server;
}

/** Resolves to where the next entry goes. */
async function readIndex(file: FileHandle, path: string, index: Index): Promise<number> {
  const { size } = await file.stat();
  let offset = 0;
  const input = file.createReadStream({ start: 0, autoClose: false });
  for await (const batch of rawLineBatches(input, '\n'))
    for (const text of batch) {
      const end = offset + text.length + 1;
      if (offset === 0 && end > size && HEADING.startsWith(text.toString())) break;
      if (offset === 0 && text.toString() !== HEADING)
        throw new UsageError(
          `${path} is no file of millrace map --resume: name another one, or one that does not exist yet`,
        );
      // without its line feed it is what a crash has left
      if (end > size) return offset;
      if (offset > 0) index.set(numberOf(text, path), offset, text.length);
      offset = end;
    }
  if (offset > 0) return offset;
  const heading = Buffer.from(`${HEADING}\n`);
  await writeAll(file, path, heading, 0);
  return heading.length;
}

/** A disk that is nearly full takes a part of it. */
async function writeAll(file: FileHandle, path: string, bytes: Buffer, at: number): Promise<void> {
  try {
    for (let done = 0; done < bytes.length;)
      done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
  } catch (error) {
    throw new Error(
      `results cannot be kept in ${path}: ${(error as Error).message}. Those before are kept; the same command continues`,
      { cause: error },
    );
  }
}

function numberOf(text: Buffer, path: string): number {
  const [, number] = /^\{"line":(\d{1,9}),/.exec(text.toString('latin1', 0, 40)) ?? [];
  if (number === undefined)
    throw new UsageError(
      `${path} has a line that millrace map did not write: remove that line, or the file to begin anew`,
    );
  return Number(number);
}

interface Opened {
  readonly file: FileHandle;
  readonly path: string;
  readonly index: Index;
  /** Where the next entry goes. */
  readonly end: number;
  readonly close: () => Promise<void>;
}

function createJournal({ file, path, index, end: begin, close }: Opened): Journal {
  let end = begin;
  return {
    get size() {
      return index.size;
    },
    recall: async (line) => {
      const place = index.get(line.number);
      if (!place) return undefined;
      const { buffer } = await file.read(Buffer.alloc(place.length), 0, place.length, place.offset);
      const entry = parseEntry(buffer, path);
      if (entry.of !== fingerprint(line.bytes))
        throw new UsageError(
          `line ${line.number} of the input is not the one whose result is in ${path}: give the same input, or another file to --resume`,
        );
      return 'base64' in entry ? Buffer.from(entry.base64, 'base64') : Buffer.from(entry.result);
    },
    add: async (done) => {
      const texts: Buffer[] = [];
      for (const { line, outcome, recalled } of done) {
        if (recalled || !Buffer.isBuffer(outcome)) continue;
        const text = Buffer.from(JSON.stringify(entryOf(line, outcome)) + '\n');
        index.set(line.number, end, text.length - 1);
        texts.push(text);
        end += text.length;
      }
      if (texts.length === 0) return;
      const all = Buffer.concat(texts);
      await writeAll(file, path, all, end - all.length);
    },
    [Symbol.asyncDispose]: close,
  };
}

function parseEntry(bytes: Buffer, path: string): Entry {
  try {
    const entry = JSON.parse(bytes.toString()) as Record<string, unknown>;
    const { result, base64 = result } = entry;
    if (typeof base64 !== 'string') throw new SyntaxError('its result is no text');
    return entry as Entry & Record<string, unknown>;
  } catch (cause) {
    throw new UsageError(
      `${path} has a line that millrace map did not write (${(cause as Error).message}): remove that line, or the file to begin anew`,
      { cause },
    );
  }
}

function entryOf(line: Line, result: Buffer): Entry {
  const of = fingerprint(line.bytes);
  return isUtf8(result)
    ? { line: line.number, of, result: result.toString() }
    : { line: line.number, of, base64: result.toString('base64') };
}

function fingerprint(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('base64url').slice(0, 16);
}

interface Index {
  readonly size: number;
  set(number: number, offset: number, length: number): void;
  get(number: number): { readonly offset: number; readonly length: number } | undefined;
}

/** Where the entry of a line is, by its number; an offset of 0 is that of none. */
function createIndex(): Index {
  let offsets = new Float64Array(1_024);
  let lengths = new Uint32Array(1_024);
  let size = 0;
  return {
    get size() {
      return size;
    },
    set: (number, offset, length) => {
      if (number >= offsets.length) {
        const room = Math.max(number + 1, 2 * offsets.length);
        const [before, lengthsBefore] = [offsets, lengths];
        offsets = new Float64Array(room);
        lengths = new Uint32Array(room);
        offsets.set(before);
        lengths.set(lengthsBefore);
      }
      if (offsets[number] === 0) size++;
      offsets[number] = offset;
      lengths[number] = length;
    },
    get: (number) => {
      const offset = offsets[number];
      return offset ? { offset, length: lengths[number] ?? 0 } : undefined;
    },
  };
}
