/**
 * The consumer's side of a trace: where the program has an OpenTelemetry SDK, each attempt runs inside a span of its own, a
 * child of the one that enqueued the task, and linked to it, per OpenTelemetry's conventions for messaging.
 */
import {
  contextOf,
  readTrace,
  SpanKind,
  spanOf,
  STATUS_ERROR,
  traceOf,
  withSpan,
  type OpenTelemetry,
  type Span,
  type Trace,
} from '../../runtime/opentelemetry.ts';
import { describeError } from '../../runtime/describe-error.ts';
import type { Outcome } from '../../queue/outcomes/outcome.ts';

export interface AttemptSpan {
  /** For calls that the handler makes. */
  readonly trace: Trace | undefined;
  inside<T>(run: () => T): T;
  /** `error`: what the handler threw. */
  end(outcome: Outcome['kind'], error: unknown): void;
}

export interface Attempt {
  readonly queue: string;
  readonly id: string | Buffer;
  readonly raw: Buffer;
  readonly attempt: number;
  /** The task's parsed value. */
  readonly value: unknown;
}

/** The trace context that a task brings, if any. */
export function broughtTrace(value: unknown): Trace | undefined {
  return typeof value === 'object' && value !== null ? readTrace(value) : undefined;
}

/** Begins the span of an attempt; `undefined` when the SDK cannot, because no task may fail because of a trace. */
export function startAttempt(api: OpenTelemetry, attempt: Attempt): AttemptSpan | undefined {
  try {
    return start(api, attempt);
  } catch {
    return undefined;
  }
}

function start(api: OpenTelemetry, { queue, id, raw, attempt, value }: Attempt): AttemptSpan {
  const brought = broughtTrace(value);
  const parent = brought ? contextOf(api, brought) : api.context.active();
  const creator = brought && spanOf(parent);
  const hasId = typeof id === 'string' && Buffer.byteLength(id) < raw.length;
  const span = api.trace.getTracer('millrace').startSpan(
    `process ${queue}`,
    {
      kind: SpanKind.consumer,
      // a context that happens to be active in the worker's loop is no parent
      root: !brought,
      attributes: {
        'messaging.system': 'millrace',
        'messaging.operation.name': 'process',
        'messaging.operation.type': 'process',
        'messaging.destination.name': queue,
        // the id of other tasks is all of their text, which does not belong into a trace
        ...(hasId && { 'messaging.message.id': id.slice(0, 200) }),
        'millrace.task.attempt': attempt,
      },
      links: creator ? [{ context: creator.spanContext() }] : [],
    },
    parent,
  );
  const context = withSpan(parent, span);
  return {
    trace: traceOf(api, context),
    inside: (run) => api.context.with(context, run),
    end: (outcome, error) => {
      try {
        endSpan(span, outcome, error);
      } catch {
        // the SDK's own code, or an error whose properties throw: the outcome holds without its span
      }
    },
  };
}

function endSpan(span: Span, outcome: Outcome['kind'], error: unknown): void {
  span.setAttribute('millrace.task.outcome', outcome);
  if (outcome === 'retry' || outcome === 'dead') {
    const message = describeError(error);
    const name = error instanceof Error ? error.name : 'Error';
    span.setAttribute('error.type', name);
    span.recordException({ name, message });
    span.setStatus({ code: STATUS_ERROR, message });
  }
  span.end();
}
