/**
 * `worker/task/` takes one delivery and returns its Outcome. It knows no loop, no batch and no lease.
 *
 * Runs one task: from a delivery to an Outcome, which is all that the loop sees of a handler. Never throws.
 */
import { batchIdOf, partMarkOf, type PartMark } from '../../queue/batch-mark.ts';
import { TaskCancelled } from '../../queue/cancel.ts';
import { parseTask, parseTaskHead } from '../../queue/task.ts';
import type { Claim, claimKey } from '../../queue/workers/claim.ts';
import type { Delivery, Past } from '../../queue/workers/turn.ts';
import { openTelemetry } from '../../runtime/opentelemetry.ts';
import { describeError } from '../../runtime/describe-error.ts';
import { encodeResult } from './encode.ts';
import type { Handler } from './handler.ts';
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
  const { attempts } = delivery.past;
  const poison = isPoison(delivery.past, deps.retry);
  const { raw } = delivery;
  const tooLarge = raw.length > deps.maxTaskBytes;
  const { id, value } = deps.bytesOnly || tooLarge ? parseTaskHead(raw) : parseTask(raw);
  const batch = markOf(value, id, raw, deps);
  const { options, notRun } = readOptions({ id, value }, delivery.past, deps);
  const unique = options?.unique;
  const attempt = poison || tooLarge || notRun ? attempts : attempts + 1;
  let over = false;
  let begun = false;
  let span: AttemptSpan | undefined;
  let spawned: Spawned | undefined;
  const finish = (ended: Outcome, error?: unknown): Finished => {
    over = true;
    spawned?.close();
    outbox.ended(id);
    const cancelled = signal.aborted && signal.reason instanceof TaskCancelled;
    const outcome: Outcome = cancelled ? { kind: 'cancelled' } : ended;
    span?.end(outcome.kind, error);
    const serviceMs = performance.now() - started;
    const more = { ...(isMark(batch) && { batch }), ...(!begun && ({ unbegun: true } as const)) };
    return { delivery, id, attempt, outcome, serviceMs, unique, ...more };
  };
  const succeed = (result: unknown): Finished =>
    finish({
      kind: 'result',
      value: encodeResult(result, deps.maxResultBytes),
      ...(spawned && spawned.tasks.length > 0 && { spawned: spawned.tasks }),
    });
  const fail = (error: unknown): Finished => {
    if (signal.aborted) return finish({ kind: 'release' });
    deps.onThrown?.(id, attempt, error);
    const next = nextAttempt({ attempt, error, policy: deps.retry, random: deps.random() });
    return next.kind === 'dead'
      ? finish({ kind: 'dead', error: next.reason }, error)
      : finish({ kind: 'retry', delayMs: next.delayMs, error: describeError(error) }, error);
  };
  if (batch !== undefined && !isMark(batch))
    return finish({ kind: 'dead', error: `it cannot be a part of a batch: ${batch.why}` });
  if (notRun) return finish({ kind: 'dead', ...notRun });
  if (poison)
    return poisonError(delivery.past, deps).then((error) => finish({ kind: 'dead', error, poison: true }));
  if (tooLarge)
    return finish({
      kind: 'dead',
      error:
        `the task is too large: it has ${raw.length} bytes, and at most ${deps.maxTaskBytes} are accepted here ` +
        '(tasks.maxSize, --task-max-size); store it elsewhere and push a reference',
    });
  // what a handler leaves running may continue to report
  const spawn = (tasks: Iterable<unknown>): string[] => {
    spawned ??= createSpawned(id, batch);
    if (over) spawned.close();
    return spawned.add(tasks);
  };
  const progress = (report: unknown): void => void (over || outbox.report(id, report));
  const begin = (): Finished | Promise<Finished> => {
    try {
      return handle();
    } catch (error) {
      return fail(error);
    }
  };
  const handle = (): Finished | Promise<Finished> => {
    const { queue, handler } = deps;
    begun = true;
    const api = openTelemetry();
    if (api) span = startAttempt(api, { queue, id, raw, attempt, value });
    const trace = span ? span.trace : broughtTrace(value);
    const context = { id, raw, attempt, signal, queue, trace, progress, spawn, retryAfter };
    const answer = span ? span.inside(() => handler(value, context)) : handler(value, context);
    return isThenable(answer) ? settled(answer, succeed, fail) : succeed(answer);
  };
  // it was not begun: however often, it costs no attempt
  const unasked = (error: Error): Finished => {
    if (signal.aborted) return finish({ kind: 'release' });
    const policy = { ...deps.retry, attempts: Infinity };
    const next = nextAttempt({ attempt, error, policy, random: deps.random() });
    const delayMs = next.kind === 'retry' ? next.delayMs : 0;
    return { ...finish({ kind: 'retry', delayMs, error: describeError(error) }, error), attempt: attempts };
  };
  if (unique === undefined) return begin();
  const claim = { key: unique, forMs: options?.uniqueForMs ?? 0, id: String(id), receipt: delivery.receipt };
  return deps.claim(claim).then(
    (claimed) => {
      if (claimed === 'fenced') return finish({ kind: 'release' });
      if (claimed) return finish({ kind: 'cancelled', duplicateOf: claimed.holder });
      return signal.aborted ? fail(signal.reason) : begin();
    },
    (cause: unknown) => unasked(new Error(`Redis did not say which task has the key "${unique}"`, { cause })),
  );
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
      why: `"${queue}" is a partition of a queue, and parts are counted in queues without partitions`,
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

/** `await` settles only once, even if the `then` of a handler's promise calls back more often. */
async function settled<T>(
  answer: PromiseLike<unknown>,
  succeed: (result: unknown) => T,
  fail: (error: unknown) => T,
): Promise<T> {
  try {
    return succeed(await answer);
  } catch (error) {
    return fail(error);
  }
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
