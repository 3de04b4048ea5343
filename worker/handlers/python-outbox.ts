/**
 * What is sent to a process of the Python package. What comes up in one tick, as tasks that begin together after a turn, costs one system
 * call; tasks of which little is to be said go together in one frame.
 */
import { sizeOf } from '../../queue/workers/turn.ts';
import type { RawTask } from '../task/handler.ts';
import type { Hello } from './python-answer.ts';
import { mayRunTogether, runFrame, runsFrame } from './python-frames.ts';

export interface PythonOutbox {
  /** The process has said what it can do. */
  begin(hello: Hello): void;
  /** Sends a task. Numbers follow one another. */
  run(number: number, task: RawTask): void;
  send(frame: Buffer): void;
}

/** The process reads and parses a frame as a whole. */
const MOST_TASKS = 128;
const MOST_BYTES = 1 << 16;

export function createPythonOutbox(write: (bytes: Buffer) => void): PythonOutbox {
  let hello: Hello = { many: false, ids: false, begun: false };
  let frames: Buffer[] = [];
  /** Tasks for one frame. */
  let together: RawTask[] = [];
  let first = 0;
  let bytes = 0;
  let due = false;

  function flush(): void {
    due = false;
    closeFrame();
    const all = frames;
    const [only] = all;
    frames = [];
    write(only && all.length === 1 ? only : Buffer.concat(all));
  }

  function soon(): void {
    if (due) return;
    due = true;
    process.nextTick(flush);
  }

  function closeFrame(): void {
    const [only] = together;
    if (!only) return;
    frames.push(...(together.length === 1 ? runFrame(first, only) : [runsFrame(first, together, hello.ids)]));
    together = [];
    bytes = 0;
  }

  return {
    begin: (said) => {
      hello = said;
    },
    run: (number, task) => {
      soon();
      if (!hello.many || !mayRunTogether(task)) {
        closeFrame();
        frames.push(...runFrame(number, task));
        return;
      }
      const next = first + together.length;
      if (
        bytes > MOST_BYTES ||
        together.length === MOST_TASKS ||
        number !== next ||
        together[0]?.queue !== task.queue
      )
        closeFrame();
      if (together.length === 0) first = number;
      together.push(task);
      bytes += sizeOf(task);
    },
    send: (frame) => {
      soon();
      closeFrame();
      frames.push(frame);
    },
  };
}
