/**
 * `worker/task/` takes one delivery and returns its Outcome. It knows no loop, no batch and no lease.
 *
 * Runs one task: from a delivery to an Outcome, which is all that the loop sees of a handler. Never throws.
 */
import { batchIdOf, partMarkOf, type PartMark } from '../../queue/batch-mark.ts';
import { TaskCancelled } from '../../queue/cancel.ts';
import { isLevelName } from '../../queue/priorities.ts';
import {
  LARGE,
  parseTask,
  parseTaskHead,
  parseTextTask,
  type ParsedTask,
  type TextTask,
} from '../../queue/task.ts';
import type { Claim, claimKey } from '../../queue/workers/claim.ts';
import { sizeOf, type Delivery } from '../../queue/workers/turn.ts';
import { openTelemetry, type OpenTelemetry, type Trace } from '../../runtime/opentelemetry.ts';
import { describeError } from '../../runtime/describe-error.ts';
import type { TaskAbort } from './abort.ts';
import { encodeResult } from './encode.ts';
import type { Handler, OpenHandler, RawTask, TaskContext } from './handler.ts';
import { NotBegun } from './not-begun.ts';
import { isPoison, poisonError } from './poison.ts';
import { readOptions, type Judge } from '../../queue/outcomes/not-run.ts';
import { retryAfter } from './retry-after.ts';
import { createSpawned, type Spawned } from './spawn.ts';
import { nextAttempt, type RetryPolicy } from '../../queue/outcomes/retry.ts';
import { broughtTrace, startAttempt, type AttemptSpan } from './tracing.ts';
import type { Outcome, Finished } from '../../queue/outcomes/outcome.ts';

/** Receives handlers' progress reports. */
export interface Reports {
  /** Throws `TypeError` for what JSON cannot express, `RangeError` for more than 16 KB of it. */
  report(id: string | Buffer, value: unknown): void;
  /** The task has ended, however. */
  ended(id: string | Buffer): void;
}

export interface RunDeps extends Judge {
  readonly handler: Handler;
  /** See `OpenHandler`. */
  readonly begin?: OpenHandler['begin'] | undefined;
  readonly retry: RetryPolicy;
  /** The largest task that is run, bytes. */
  readonly maxTaskBytes: number;
  /** The handler reads only the bytes: the task is not parsed for it. */
  readonly bytesOnly: boolean;
  /** The largest result, bytes. */
  readonly maxResultBytes: number;
  /** From [0, 1). */
  readonly random: () => number;
  /** Asks whether a unique task may begin. */
  readonly claim: (claim: Claim) => ReturnType<typeof claimKey>;
  /** The exit reason of a worker that was lost, if one is known. */
  readonly exitReasonOf: (worker: string) => Promise<string | undefined>;
  /** Called with the value that an attempt has thrown. */
  readonly onThrown?: (id: string | Buffer, attempt: number, error: unknown) => void;
}

/** `ended` is called once, unless the outcome is returned immediately. */
export interface RunOptions {
  readonly deps: RunDeps;
  readonly outbox: Reports;
  readonly ended: (finished: Finished, run: TaskRun) => void;
  /** See `RawTask`. */
  readonly together?: (run: () => void) => void;
}

/**
 * One task, from its start to its Outcome. An object with methods, because eight functions for each task would cost as much as the task.
 * If it is aborted by the time it ends without a result, it is released.
 */
export class TaskRun implements RawTask {
  readonly delivery: Delivery;
  readonly abort: TaskAbort;
  /** By performance.now(). */
  readonly started: number;
  id: string | Buffer = '';
  attempt = 0;
  trace: Trace | undefined;
  /** Its place among those that run, and what is noted of it there (running.ts). */
  before: TaskRun | undefined;
  after: TaskRun | undefined;
  metered: object | undefined;
  /** Resolves when it has ended, however; made when it is needed. */
  ending: PromiseWithResolvers<void> | undefined;
  readonly #options: RunOptions;
  /** The task's parsed value, or its head. */
  #value: unknown;
  #batch: PartMark | undefined;
  #unique: string | undefined;
  #over = false;
  #begun = false;
  #span: AttemptSpan | undefined;
  #spawned: Spawned | undefined;

  constructor(delivery: Delivery, abort: TaskAbort, started: number, options: RunOptions) {
    this.delivery = delivery;
    this.abort = abort;
    this.started = started;
    this.#options = options;
  }

  /** Returns the outcome of a handler that returns no promise; otherwise nothing, and calls `ended` later. */
  start(): Finished | undefined {
    const { delivery } = this;
    const { deps, ended } = this.#options;
    const { past } = delivery;
    const poison = isPoison(past, deps.retry);
    const size = sizeOf(delivery);
    const tooLarge = size > deps.maxTaskBytes;
    const parsed = parsedTask(delivery, size, deps.bytesOnly || tooLarge);
    const { id, value } = parsed;
    this.id = id;
    this.#value = value;
    const batch = markOf(value, id, delivery, deps);
    const { options: own, notRun } = readOptions(parsed, past, deps);
    const unique = own?.unique;
    this.#unique = unique;
    this.attempt = poison || tooLarge || notRun ? past.attempts : past.attempts + 1;
    if (isMark(batch)) this.#batch = batch;
    else if (batch !== undefined)
      return this.#finish({ kind: 'dead', error: `it cannot be a part of a batch: ${batch.why}` });
    if (notRun) return this.#finish({ kind: 'dead', ...notRun });
    if (poison) {
      const dead = poisonError(past, deps.exitReasonOf);
      void dead.then((error) => ended(this.#finish({ kind: 'dead', error, poison: true }), this));
      return undefined;
    }
    if (tooLarge)
      return this.#finish({
        kind: 'dead',
        error:
          `the task is too large: it has ${size} bytes, and at most ${deps.maxTaskBytes} are accepted here ` +
          '(tasks.maxSize, --task-max-size); store it elsewhere and push a reference',
      });
    if (unique === undefined) return this.#begin();
    const claim = { key: unique, forMs: own?.uniqueForMs ?? 0, id: String(id), receipt: delivery.receipt };
    void this.#beginClaimed(claim);
    return undefined;
  }

  get raw(): Buffer {
    return this.delivery.raw;
  }

  get text(): string | undefined {
    return this.delivery.text;
  }

  get queue(): string {
    return this.#options.deps.queue;
  }

  get isJson(): boolean {
    return typeof this.#value === 'object' && !Buffer.isBuffer(this.#value);
  }

  #begin(): Finished | undefined {
    try {
      return this.#handle();
    } catch (error) {
      return this.#fail(error);
    }
  }

  async #beginClaimed(claim: Claim): Promise<void> {
    const { deps, ended } = this.#options;
    const finished = await deps.claim(claim).then(
      (claimed) => {
        if (claimed === 'fenced') return this.#finish({ kind: 'release' });
        if (claimed) return this.#finish({ kind: 'cancelled', duplicateOf: claimed.holder });
        return this.abort.reason ? this.#fail(this.abort.reason) : this.#begin();
      },
      (cause: unknown) =>
        this.#unasked(new Error(`Redis did not say which task has the key "${claim.key}"`, { cause })),
    );
    if (finished) ended(finished, this);
  }

  #handle(): Finished | undefined {
    const { handler, begin } = this.#options.deps;
    const value = this.#value;
    this.#begun = true;
    const api = openTelemetry();
    if (api) this.#span = this.#startSpan(api);
    this.trace = this.#span ? this.#span.trace : broughtTrace(value);
    if (begin?.(this)) return undefined;
    const context = new Context(this);
    const answer = this.#span ? this.#span.inside(() => handler(value, context)) : handler(value, context);
    if (!isThenable(answer)) return this.#succeed(answer);
    void this.#settle(answer);
    return undefined;
  }

  #startSpan(api: OpenTelemetry): AttemptSpan | undefined {
    const { queue, id, raw, attempt } = this;
    return startAttempt(api, { queue, id, raw, attempt, value: this.#value });
  }

  /** `await` settles only once, even if the `then` of a handler's promise calls back more often. */
  async #settle(answer: PromiseLike<unknown>): Promise<void> {
    let finished: Finished;
    try {
      finished = this.#succeed(await answer);
    } catch (error) {
      finished = this.#fail(error);
    }
    this.#options.ended(finished, this);
  }

  together(run: () => void): void {
    const { together } = this.#options;
    if (together) together(run);
    else run();
  }

  succeeded(result: unknown): void {
    let finished: Finished;
    try {
      finished = this.#succeed(result);
    } catch (error) {
      finished = this.#fail(error);
    }
    this.#options.ended(finished, this);
  }

  failed(error: unknown): void {
    this.#options.ended(this.#fail(error), this);
  }

  /** What a handler leaves running may continue to report. */
  progress(report: unknown): void {
    if (!this.#over) this.#options.outbox.report(this.id, report);
  }

  spawn(tasks: Iterable<unknown>): string[] {
    this.#spawned ??= createSpawned(this.id, this.#batch);
    if (this.#over) this.#spawned.close();
    return this.#spawned.add(tasks);
  }

  #succeed(result: unknown): Finished {
    const value = encodeResult(result, this.#options.deps.maxResultBytes);
    const spawned = this.#spawned?.tasks;
    return this.#finish(
      spawned && spawned.length > 0 ? { kind: 'result', value, spawned } : { kind: 'result', value },
    );
  }

  #fail(error: unknown): Finished {
    if (this.abort.reason) return this.#finish({ kind: 'release' });
    if (NotBegun.is(error)) return { ...this.#finish({ kind: 'release' }), unbegun: true };
    const { attempt } = this;
    const { retry, random, onThrown } = this.#options.deps;
    onThrown?.(this.id, attempt, error);
    const next = nextAttempt({ attempt, error, policy: retry, random: random() });
    return next.kind === 'dead'
      ? this.#finish({ kind: 'dead', error: next.reason }, error)
      : this.#finish({ kind: 'retry', delayMs: next.delayMs, error: describeError(error) }, error);
  }

  /** It was not begun: however often, it costs no attempt. */
  #unasked(error: Error): Finished {
    if (this.abort.reason) return this.#finish({ kind: 'release' });
    const { retry, random } = this.#options.deps;
    const policy = { ...retry, attempts: Infinity };
    const next = nextAttempt({ attempt: this.attempt, error, policy, random: random() });
    const delayMs = next.kind === 'retry' ? next.delayMs : 0;
    const finished = this.#finish({ kind: 'retry', delayMs, error: describeError(error) }, error);
    return { ...finished, attempt: this.delivery.past.attempts };
  }

  #finish(ended: Outcome, error?: unknown): Finished {
    const { id, attempt, abort } = this;
    this.#over = true;
    this.#spawned?.close();
    this.#options.outbox.ended(id);
    const outcome: Outcome = abort.reason instanceof TaskCancelled ? { kind: 'cancelled' } : ended;
    this.#span?.end(outcome.kind, error);
    const finished: Finished = {
      delivery: this.delivery,
      id,
      attempt,
      outcome,
      serviceMs: performance.now() - this.started,
      unique: this.#unique,
      batch: this.#batch,
    };
    return this.#begun ? finished : { ...finished, unbegun: true };
  }
}

/** What few handlers look at is made when one does: for a task that takes no time, it would be a tenth of the work. */
class Context implements TaskContext {
  readonly id: string | Buffer;
  readonly attempt: number;
  readonly queue: string;
  readonly trace: Trace | undefined;
  readonly retryAfter = retryAfter;
  readonly #run: TaskRun;

  constructor(run: TaskRun) {
    this.id = run.id;
    this.attempt = run.attempt;
    this.queue = run.queue;
    this.trace = run.trace;
    this.#run = run;
  }

  get raw(): Buffer {
    return this.#run.raw;
  }

  get signal(): AbortSignal {
    return this.#run.abort.signal;
  }

  get progress(): TaskContext['progress'] {
    const run = this.#run;
    return (report) => run.progress(report);
  }

  get spawn(): TaskContext['spawn'] {
    const run = this.#run;
    return (tasks) => run.spawn(tasks);
  }
}

/** `head`: the handler needs only the bytes. */
function parsedTask(delivery: Delivery, size: number, head: boolean): ParsedTask {
  if (head && size > LARGE) return parseTaskHead(delivery.raw);
  return isText(delivery) ? parseTextTask(delivery) : parseTask(delivery.raw);
}

function isText(delivery: Delivery): delivery is Delivery & TextTask {
  return delivery.text !== undefined;
}

/** The mark of a part; why it cannot be one; `undefined` for a task that is no part of a batch. */
function markOf(
  value: unknown,
  id: string | Buffer,
  delivery: Delivery,
  { queue, inPartitions }: RunDeps,
): PartMark | { readonly why: string } | undefined {
  if (inPartitions && isLevelName(queue) && batchIdOf(value) !== undefined)
    return {
      why: `"${queue}" is the list of a priority, and parts are counted among tasks of normal priority: push it to the queue itself`,
    };
  try {
    const mark = partMarkOf(value, id, delivery);
    if (mark?.size === undefined || !inPartitions) return mark;
    return {
      why: `it names the size of batch "${mark.id}", and "${queue}" is a partition of a queue, which has some of its parts only: add the parts with a library (queue.batch) or millrace batch begin, or push them to a queue without partitions`,
    };
  } catch (error) {
    return { why: (error as Error).message };
  }
}

function isMark(batch: ReturnType<typeof markOf>): batch is PartMark {
  return batch !== undefined && !('why' in batch);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}
