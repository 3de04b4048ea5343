/**
 * `worker/task/` takes one delivery and returns its Outcome. It knows no loop, no batch and no lease.
 *
 * Runs one task: from a delivery to an Outcome, which is all that the loop sees of a handler. Never throws.
 */
import { batchIdOf, partMarkOf, type PartMark } from '../../queue/batch-mark.ts';
import { TaskCancelled } from '../../queue/cancel.ts';
import { isLevelName } from '../../queue/priorities.ts';
import { parseTask, parseTaskHead } from '../../queue/task.ts';
import type { Claim, claimKey } from '../../queue/workers/claim.ts';
import type { Delivery, Past } from '../../queue/workers/turn.ts';
import { openTelemetry } from '../../runtime/opentelemetry.ts';
import { describeError } from '../../runtime/describe-error.ts';
import { encodeResult } from './encode.ts';
import type { Handler, TaskContext } from './handler.ts';
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

/** The default of a policy. */
export const MAX_DELIVERIES = 5;

/** A task while it runs: one object, not a function for each thing that may happen to it, of which most tasks need few. */
interface Attempt {
  readonly delivery: Delivery;
  readonly signal: AbortSignal;
  readonly started: number;
  readonly deps: RunDeps;
  readonly outbox: Reports;
  readonly id: string | Buffer;
  readonly value: unknown;
  readonly batch: PartMark | undefined;
  readonly unique: string | undefined;
  /** 1 for the first try. */
  readonly number: number;
  over: boolean;
  begun: boolean;
  span: AttemptSpan | undefined;
  spawned: Spawned | undefined;
}

/**
 * Runs the task of `delivery`, started at `started` by performance.now(). If `signal` has aborted by the time the task ends
 * without a result, it is released. For a handler that returns no promise, the outcome is returned immediately.
 */
export function runTask(
  delivery: Delivery,
  signal: AbortSignal,
  started: number,
  deps: RunDeps,
  outbox: Reports,
): Finished | Promise<Finished> {
  const { raw, past } = delivery;
  const { attempts } = past;
  const poison = isPoison(past, deps.retry);
  const tooLarge = raw.length > deps.maxTaskBytes;
  const { id, value } = deps.bytesOnly || tooLarge ? parseTaskHead(raw) : parseTask(raw);
  const mark = markOf(value, id, raw, deps);
  const { options, notRun } = readOptions({ id, value }, past, deps);
  const unique = options?.unique;
  const run: Attempt = {
    delivery,
    signal,
    started,
    deps,
    outbox,
    id,
    value,
    batch: isMark(mark) ? mark : undefined,
    unique,
    number: poison || tooLarge || notRun ? attempts : attempts + 1,
    over: false,
    begun: false,
    span: undefined,
    spawned: undefined,
  };
  if (mark !== undefined && !isMark(mark))
    return finish(run, { kind: 'dead', error: `it cannot be a part of a batch: ${mark.why}` });
  if (notRun) return finish(run, { kind: 'dead', ...notRun });
  if (poison)
    return poisonError(past, deps).then((error) => finish(run, { kind: 'dead', error, poison: true }));
  if (tooLarge)
    return finish(run, {
      kind: 'dead',
      error:
        `the task is too large: it has ${raw.length} bytes, and at most ${deps.maxTaskBytes} are accepted here ` +
        '(tasks.maxSize, --task-max-size); store it elsewhere and push a reference',
    });
  if (unique === undefined) return begin(run);
  const claim = { key: unique, forMs: options?.uniqueForMs ?? 0, id: String(id), receipt: delivery.receipt };
  return deps.claim(claim).then(
    (claimed) => {
      if (claimed === 'fenced') return finish(run, { kind: 'release' });
      if (claimed) return finish(run, { kind: 'cancelled', duplicateOf: claimed.holder });
      return signal.aborted ? fail(run, signal.reason) : begin(run);
    },
    (cause: unknown) =>
      unasked(run, new Error(`Redis did not say which task has the key "${unique}"`, { cause })),
  );
}

function begin(run: Attempt): Finished | Promise<Finished> {
  try {
    return handle(run);
  } catch (error) {
    return fail(run, error);
  }
}

function handle(run: Attempt): Finished | Promise<Finished> {
  const { id, value, number: attempt, signal } = run;
  const { queue, handler } = run.deps;
  const { raw } = run.delivery;
  run.begun = true;
  const api = openTelemetry();
  const span = api && (run.span = startAttempt(api, { queue, id, raw, attempt, value }));
  const context: TaskContext = {
    id,
    raw,
    attempt,
    signal,
    queue,
    trace: span ? span.trace : broughtTrace(value),
    // what a handler leaves running may continue to report
    progress: (report) => void (run.over || run.outbox.report(id, report)),
    spawn: (tasks) => spawn(run, tasks),
    retryAfter,
  };
  const answer = span ? span.inside(() => handler(value, context)) : handler(value, context);
  return isThenable(answer) ? settled(run, answer) : succeed(run, answer);
}

function spawn(run: Attempt, tasks: Iterable<unknown>): string[] {
  run.spawned ??= createSpawned(run.id, run.batch);
  if (run.over) run.spawned.close();
  return run.spawned.add(tasks);
}

function finish(run: Attempt, ended: Outcome, error?: unknown): Finished {
  const { delivery, signal, id, number: attempt, unique, batch } = run;
  run.over = true;
  run.spawned?.close();
  run.outbox.ended(id);
  const cancelled = signal.aborted && signal.reason instanceof TaskCancelled;
  const outcome: Outcome = cancelled ? { kind: 'cancelled' } : ended;
  run.span?.end(outcome.kind, error);
  const serviceMs = performance.now() - run.started;
  const finished: Finished = { delivery, id, attempt, outcome, serviceMs, unique, batch };
  return run.begun ? finished : { ...finished, unbegun: true };
}

function succeed(run: Attempt, result: unknown): Finished {
  const value = encodeResult(result, run.deps.maxResultBytes);
  const added = run.spawned?.tasks ?? [];
  return finish(
    run,
    added.length > 0 ? { kind: 'result', value, spawned: added } : { kind: 'result', value },
  );
}

function fail(run: Attempt, error: unknown): Finished {
  const { signal, id, number: attempt, deps } = run;
  if (signal.aborted) return finish(run, { kind: 'release' });
  deps.onThrown?.(id, attempt, error);
  const next = nextAttempt({ attempt, error, policy: deps.retry, random: deps.random() });
  return next.kind === 'dead'
    ? finish(run, { kind: 'dead', error: next.reason }, error)
    : finish(run, { kind: 'retry', delayMs: next.delayMs, error: describeError(error) }, error);
}

/** It was not begun: however often, it costs no attempt. */
function unasked(run: Attempt, error: Error): Finished {
  const { signal, delivery, number: attempt, deps } = run;
  if (signal.aborted) return finish(run, { kind: 'release' });
  const policy = { ...deps.retry, attempts: Infinity };
  const next = nextAttempt({ attempt, error, policy, random: deps.random() });
  const delayMs = next.kind === 'retry' ? next.delayMs : 0;
  const { attempts } = delivery.past;
  return {
    ...finish(run, { kind: 'retry', delayMs, error: describeError(error) }, error),
    attempt: attempts,
  };
}

/** `await` settles only once, even if the `then` of a handler's promise calls back more often. */
async function settled(run: Attempt, answer: PromiseLike<unknown>): Promise<Finished> {
  try {
    return succeed(run, await answer);
  } catch (error) {
    return fail(run, error);
  }
}

/** The mark of a part; why it cannot be one; `undefined` for a task that is no part of a batch. */
function markOf(
  value: unknown,
  id: string | Buffer,
  raw: Buffer,
  { queue, inPartitions }: RunDeps,
): PartMark | { readonly why: string } | undefined {
  if (batchIdOf(value) === undefined) return undefined;
  if (inPartitions)
    return {
      why: isLevelName(queue)
        ? `"${queue}" is the list of a priority, and parts are counted among tasks of normal priority: push it to the queue itself`
        : `"${queue}" is a partition of a queue, and parts are counted in queues without partitions`,
    };
  try {
    return partMarkOf(value, id, raw);
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

/**
 * Whether a task is given up without another run: too many workers were lost with it, and the last one held nothing else, so
 * that no task is condemned for its company. One that always has company, from tasks of more urgent queues, is given up
 * eventually.
 */
function isPoison(
  { deliveries, company = 1 }: Past,
  { maxDeliveries = MAX_DELIVERIES }: RetryPolicy,
): boolean {
  return deliveries >= maxDeliveries && (company === 1 || deliveries >= 2 * maxDeliveries + 1);
}

/** The error of a poison task, which no worker has survived. */
async function poisonError({ deliveries, lastWorker }: Past, { exitReasonOf }: RunDeps): Promise<string> {
  const times = deliveries === 1 ? 'delivered once, and its worker was lost' : undefined;
  const what = times ?? `delivered ${deliveries} times, and each time its worker was lost`;
  if (lastWorker === undefined) return what;
  // without Redis the reason is unknown, but then there is no next turn either
  const reason = await exitReasonOf(lastWorker).catch(() => undefined);
  return `${what}; the last one, ${lastWorker}: ${reason ?? 'its exit reason is unknown'}`;
}
