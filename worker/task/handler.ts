/**
 * The interface between a worker and the code that does the work. A module handler is this function itself; the command
 * handler wraps a program in it. The loop depends on nothing else of handlers.
 */
import type { Trace } from '../../runtime/opentelemetry.ts';
import type { TaskAbort } from './abort.ts';

export interface TaskContext {
  /** The field of the result hash that the outcome goes to: text, or all of the task where that is bytes that are no text. */
  readonly id: string | Buffer;
  /** The task, byte for byte as the client pushed it. */
  readonly raw: Buffer;
  /** 1 for the first try. */
  readonly attempt: number;
  /**
   * Aborts when the result is no longer wanted: the task was cancelled (then the reason is a `TaskCancelled`), the
   * lease was lost, or the grace period is over.
   */
  readonly signal: AbortSignal;
  readonly queue: string;
  /**
   * W3C Trace Context, to continue the trace that the task belongs to: the task's own field `traceparent`, or
   * the span of this attempt where the program has an OpenTelemetry SDK. `undefined` where there is neither.
   */
  readonly trace: Trace | undefined;
  /**
   * Reports the progress of the task: any JSON value of at most 16 KB. The latest one wins; however often it is called, reports are
   * written at most four times a second.
   */
  progress(this: void, value: unknown): void;
  /**
   * Adds tasks to the queue, and to the batch of this task if it is a part of one, in the same step that stores its result: an attempt
   * that fails adds none. Returns their ids; an object without an `id` gets `ID/0`, `ID/1`, …, ID being that of this task. Throws
   * `RangeError` for more than 1,000 tasks or 1 MiB in all, and `BadBatch` for what cannot be a part.
   */
  spawn(this: void, tasks: Iterable<unknown>): string[];
  /**
   * Ends this attempt by throwing, and sets when the next one is due: ms from now, a `Date`, or a duration such as `30s`.
   * It counts as an attempt; backoff and jitter do not apply. `reason`: a text or an error.
   */
  retryAfter(this: void, when: number | Date | string, reason?: unknown): never;
}

/**
 * Runs one task. `task` is the parsed value where the task is a JSON object or array; else the text as it was
 * pushed, or the bytes (a Buffer) where it is not valid UTF-8.
 * Returns the result, or a promise of it: text and bytes are stored as they are, anything else as JSON.
 * Throw to fail the attempt; throw an error with `retry: false` to fail the task for good, or with `retryAfter` (ms) to
 * set when it is to be retried.
 */
export type Handler = (task: unknown, context: TaskContext) => unknown;

/**
 * One attempt at a task for a handler that passes its bytes on and answers by a call: of a task that takes microseconds, a promise and a
 * signal would be most of the cost. For what its fields mean, see `TaskContext`.
 */
export interface RawTask extends Pick<TaskContext, 'id' | 'raw' | 'attempt' | 'queue' | 'trace'> {
  /** The task as text, where it is ASCII and that is known; `raw` is then made when it is read. */
  readonly text?: string | undefined;
  /** It is an object or an array in JSON, as `JSON.parse` reads it. */
  readonly isJson: boolean;
  readonly abort: TaskAbort;
  /** Runs what ends this task and others: those that follow them begin after that, together. */
  together(run: () => void): void;
  progress(value: unknown): void;
  /** Throws as `TaskContext.spawn` does. */
  spawn(tasks: Iterable<unknown>): string[];
  /** It has ended, with what is stored for it. */
  succeeded(result: unknown): void;
  /** It has ended by what a handler would throw. */
  failed(error: unknown): void;
}

/** A handler that holds something open (a kept-running process) and must be closed. */
export interface OpenHandler extends AsyncDisposable {
  readonly handle: Handler;
  /** It reads only `context.raw`; `task` need only be of the right kind: an object, an array, text or bytes. */
  readonly bytesOnly?: true;
  /** The same as `handle` for a task that can begin now, and ends after this has returned. Otherwise it returns false and does nothing. */
  readonly begin?: (task: RawTask) => boolean;
}
