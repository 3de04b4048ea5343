/**
 * Propagates the trace context from producers to workers. A task that is a JSON object gets the fields `traceparent` and
 * `tracestate` if the producer has an OpenTelemetry SDK and an active span; all other tasks, and those that have the field
 * already, are pushed unchanged. Ids never change.
 */
import {
  openTelemetry,
  SpanKind,
  spanOf,
  STATUS_ERROR,
  traceOf,
  withSpan,
  type Trace,
} from '../runtime/opentelemetry.ts';
import { isPlainObject, parseTask } from './task.ts';

/** Transforms a task before it is encoded. */
type Stamp = (task: unknown) => unknown;

const unchanged: Stamp = (task) => task;

/**
 * Calls `send`, inside a producer span if a span is active already. `send` resolves to the number of tasks that it enqueued and
 * the value to return.
 */
export async function traced<T>(
  queue: string,
  send: (stamp: Stamp) => Promise<{ readonly tasks: number; readonly value: T }>,
): Promise<T> {
  const api = openTelemetry();
  const parent = api?.context.active();
  if (!api || !parent || !spanOf(parent)) return (await send(unchanged)).value;
  const span = api.trace.getTracer('millrace').startSpan(
    `send ${queue}`,
    {
      kind: SpanKind.producer,
      attributes: {
        'messaging.system': 'millrace',
        'messaging.operation.name': 'send',
        'messaging.operation.type': 'send',
        'messaging.destination.name': queue,
      },
    },
    parent,
  );
  const context = withSpan(parent, span);
  const trace = traceOf(api, context);
  try {
    const sent = await api.context.with(context, () => send((task) => stamped(task, trace)));
    span.setAttribute('messaging.batch.message_count', sent.tasks);
    return sent.value;
  } catch (error) {
    const { name, message } = error as Error;
    span.recordException({ name, message });
    span.setStatus({ code: STATUS_ERROR, message });
    throw error;
  } finally {
    span.end();
  }
}

function stamped(task: unknown, trace: Trace | undefined): unknown {
  if (!trace || !isPlainObject(task) || task instanceof Uint8Array || 'traceparent' in task) return task;
  return { ...task, ...trace };
}

/**
 * The same for a task that is text already: a JSON object with an `id` gets the fields in front of its own, and is otherwise
 * unchanged, byte for byte. Without an `id`, its text is its id, and must not change.
 */
export function stampText(raw: Buffer, trace: Trace): Buffer {
  const { id, value } = parseTask(raw);
  if (!isPlainObject(value) || Buffer.isBuffer(value) || 'traceparent' in value) return raw;
  if (raw.equals(Buffer.from(id))) return raw;
  const brace = raw.indexOf('{') + 1;
  const fields = JSON.stringify(trace).slice(1, -1);
  return Buffer.concat([raw.subarray(0, brace), Buffer.from(`${fields},`), raw.subarray(brace)]);
}
