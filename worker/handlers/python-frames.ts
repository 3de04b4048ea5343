/**
 * The frames between the worker and a process of the Python package (`python/src/millrace/worker/frames.py`), over a socket of their
 * own, so that whatever the user's code prints is no answer. All numbers are little-endian.
 *
 *     frame      u32 bytes that follow, u8 kind, u32 number of the task, body
 *     → RUN      u32 attempt, u8 1 if the id is bytes, u32 bytes of the id, of the queue's name, of the trace; these; the task.
 *                An id of 2^32 − 1 bytes is the task itself
 *     → CANCEL   the reason, as text: its result is no longer wanted
 *     ← HELLO    JSON {"protocol","version"}: the module is loaded. The first frame. "many", "ids": see RUNS; "begun": see `begun-tasks.ts`
 *     ← RESULT   u8 1 if it was the process's last task; the result
 *     ← ERROR    u8 as above; JSON {"name","error","traceback","retry","retryAfter"}, the last in ms. With number 0: it cannot be loaded
 *     ← PROGRESS JSON
 *     ← SPAWN    for each task that is added with the result: u32 its bytes; these. Before RESULT. Since protocol 2
 *
 * Tasks and results that follow one another in number may come together, the number being that of the first:
 *
 *     → RUNS     u32 how many, u32 bytes of the queue's name; for each u32 bytes of the task; if HELLO has "ids", for each u32 bytes of
 *                its id; the name; the ids; a JSON array of the tasks, without white space around them. Of first attempts at tasks in
 *                JSON that have a text as id and belong to no trace, if HELLO has "many"
 *     ← RESULTS  u32 how many; for each u32 bytes of the result; these
 *
 * The two sides are released apart. A process names its protocol in HELLO, and one of another is refused.
 */
import { isAscii } from 'node:buffer';
import { sizeOf } from '../../queue/workers/turn.ts';
import type { RawTask } from '../task/handler.ts';

export const PROTOCOL = 2;
/** Older ones only lack what was added since. */
export const OLDEST_PROTOCOL = 1;

export const FrameKind = {
  Hello: 0,
  Run: 1,
  Cancel: 2,
  Result: 3,
  Error: 4,
  Progress: 5,
  Spawn: 6,
  Runs: 7,
  Results: 8,
} as const;

const HEAD = 9;
const RUN_HEAD = 17;
const SAME_AS_TASK = 0xffff_ffff;
/** A longer task is written as it is, not copied behind its head. */
const COPIED_BYTES = 1 << 14;

type RunTask = Pick<RawTask, 'id' | 'raw' | 'text' | 'attempt' | 'queue' | 'trace'>;

/** The number of the task that is `by` after that one. 0 is none. */
export function followingNumber(number: number, by: number): number {
  const sum = number + by;
  return sum <= 0xffff_ffff ? sum : sum - 0xffff_ffff;
}

/** The frame of a task, in one part or two. */
export function runFrame(number: number, { id, raw, attempt, queue, trace }: RunTask): Buffer[] {
  const traced = trace ? `${trace.traceparent}\n${trace.tracestate ?? ''}` : '';
  const isTask = typeof id === 'string' ? false : id === raw || id.equals(raw);
  const idBytes = isTask ? 0 : Buffer.byteLength(id);
  const queueBytes = Buffer.byteLength(queue);
  const traceBytes = Buffer.byteLength(traced);
  const headBytes = HEAD + RUN_HEAD + idBytes + queueBytes + traceBytes;
  const copied = raw.length <= COPIED_BYTES;
  const frame = Buffer.allocUnsafe(headBytes + (copied ? raw.length : 0));
  frame.writeUInt32LE(headBytes + raw.length - 4, 0);
  frame.writeUInt8(FrameKind.Run, 4);
  frame.writeUInt32LE(number, 5);
  frame.writeUInt32LE(attempt, 9);
  frame.writeUInt8(typeof id === 'string' ? 0 : 1, 13);
  frame.writeUInt32LE(isTask ? SAME_AS_TASK : idBytes, 14);
  frame.writeUInt32LE(queueBytes, 18);
  frame.writeUInt32LE(traceBytes, 22);
  let at = HEAD + RUN_HEAD;
  if (typeof id === 'string') at += frame.write(id, at);
  else if (!isTask) at += id.copy(frame, at);
  at += frame.write(queue, at);
  at += frame.write(traced, at);
  if (!copied) return [frame, raw];
  raw.copy(frame, at);
  return [frame];
}

/** Whether a task may be in RUNS. */
export function mayRunTogether(task: RunTask & Pick<RawTask, 'isJson'>): boolean {
  const { id, attempt, trace, isJson } = task;
  return (
    isJson && attempt === 1 && trace === undefined && typeof id === 'string' && sizeOf(task) <= COPIED_BYTES
  );
}

/** The frame of tasks for which that is so, and that are of one queue. `ids`: with their ids. */
export function runsFrame(first: number, tasks: readonly RunTask[], ids: boolean): Buffer {
  const count = tasks.length;
  const queue = tasks[0]?.queue ?? '';
  const names = ids ? joined(tasks.map(({ id }) => String(id))) : NO_NAMES;
  const head = HEAD + 8 + 4 * (count + names.sizes.length);
  const queueBytes = Buffer.byteLength(queue);
  const named = head + queueBytes + names.bytes.length;
  // a bracket or a comma before each, and a bracket in the end
  const bytes = tasks.reduce((sum, task) => sum + sizeOf(task) + 1, named + 1);
  const frame = Buffer.allocUnsafe(bytes);
  writeHead(frame, FrameKind.Runs, first);
  frame.writeUInt32LE(count, HEAD);
  frame.writeUInt32LE(queueBytes, HEAD + 4);
  let sizeAt = HEAD + 8;
  for (const task of tasks) sizeAt = frame.writeUInt32LE(sizeOf(task), sizeAt);
  for (const size of names.sizes) sizeAt = frame.writeUInt32LE(size, sizeAt);
  frame.write(queue, head);
  names.bytes.copy(frame, head + queueBytes);
  writeArray(frame, named, tasks);
  return frame;
}

const NO_NAMES = { sizes: [] as readonly number[], bytes: Buffer.alloc(0) };

function joined(names: readonly string[]): typeof NO_NAMES {
  const bytes = Buffer.from(names.join(''));
  const sizes = names.map(({ length }) => length);
  if (bytes.length === sizes.reduce((sum, size) => sum + size, 0)) return { sizes, bytes };
  const each = names.map((name) => Buffer.from(name));
  return { sizes: each.map(({ length }) => length), bytes: Buffer.concat(each) };
}

const [OPEN_BRACKET, CLOSE_BRACKET, COMMA] = [0x5b, 0x5d, 0x2c];

function writeArray(frame: Buffer, from: number, tasks: readonly RunTask[]): void {
  const texts = tasks.map(({ text }) => text);
  if (!texts.includes(undefined)) {
    // all are copied together
    frame.write(`[${texts.join(',')}]`, from, 'latin1');
    return;
  }
  let at = from;
  let before = OPEN_BRACKET;
  for (const { raw } of tasks) {
    frame[at++] = before;
    before = COMMA;
    at += raw.copy(frame, at);
  }
  frame[at] = CLOSE_BRACKET;
}

function writeHead(frame: Buffer, kind: number, number: number): void {
  frame.writeUInt32LE(frame.length - 4, 0);
  frame.writeUInt8(kind, 4);
  frame.writeUInt32LE(number, 5);
}

/** The results in a RESULTS frame. Throws `RangeError` for one that ends within a result. */
export function resultsIn(body: Buffer): (string | Buffer)[] {
  const count = body.readUInt32LE(0);
  const head = 4 + 4 * count;
  if (head > body.length) throw new RangeError('its results are not in it');
  // a part of a string costs less than one of a buffer
  const text = isAscii(body.subarray(head)) ? body.toString('latin1', head) : undefined;
  const results: (string | Buffer)[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const end = at + body.readUInt32LE(4 + 4 * i);
    results.push(text === undefined ? body.subarray(head + at, head + end) : text.slice(at, end));
    at = end;
  }
  if (head + at !== body.length) throw new RangeError('a result ends beyond its frame');
  return results;
}

export function cancelFrame(number: number, reason: string): Buffer {
  const body = Buffer.from(reason);
  const frame = Buffer.concat([Buffer.alloc(HEAD), body]);
  writeHead(frame, FrameKind.Cancel, number);
  return frame;
}

/** The tasks in a SPAWN frame. Throws `RangeError` for one that ends within a task. */
export function spawnedTasks(body: Buffer): Buffer[] {
  const tasks: Buffer[] = [];
  for (let at = 0; at < body.length;) {
    const end = at + 4 + body.readUInt32LE(at);
    if (end > body.length) throw new RangeError('a task ends beyond its frame');
    tasks.push(body.subarray(at + 4, end));
    at = end;
  }
  return tasks;
}

export type OnFrame = (kind: number, number: number, body: Buffer) => void;

/**
 * Returns what takes the chunks of a stream and calls back for each frame. `onLong` is called once for a frame of more than `maxBytes`,
 * after which nothing more is read.
 */
export function frameReader(
  maxBytes: number,
  onFrame: OnFrame,
  onLong: (bytes: number) => void,
): (chunk: Buffer) => void {
  let parts: Buffer[] = [];
  let size = 0;
  /** How many bytes are worth looking at. */
  let wanted = HEAD;
  let over = false;

  return (chunk) => {
    if (over) return;
    parts.push(chunk);
    size += chunk.length;
    if (size < wanted) return;
    const bytes = parts.length === 1 ? chunk : Buffer.concat(parts, size);
    let at = 0;
    wanted = HEAD;
    while (bytes.length - at >= HEAD) {
      const length = bytes.readUInt32LE(at);
      if (length > maxBytes || length < HEAD - 4) {
        over = true;
        parts = [];
        return onLong(length);
      }
      if (bytes.length - at < 4 + length) {
        wanted = 4 + length;
        break;
      }
      const end = at + 4 + length;
      onFrame(bytes.readUInt8(at + 4), bytes.readUInt32LE(at + 5), bytes.subarray(at + HEAD, end));
      at = end;
    }
    parts = at < bytes.length ? [bytes.subarray(at)] : [];
    size = bytes.length - at;
  };
}
