/**
 * The trace context on its way from who enqueues to who runs. A task that is a JSON object gets the fields `traceparent`
 * and `tracestate` when the program that enqueues it has an OpenTelemetry SDK and a span is active; all other tasks, and
 * those that bring the field themselves, are pushed as they are. Ids never change.
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

/** What is done to a task before it is encoded. */
type Stamp = (task: unknown) => unknown;

const asItIs: Stamp = (task) => task;

/**
 * Calls `send`, inside a producer span where a span is active already. `send` returns how many tasks it enqueued with what it
 * wants to return.
 */
export async function traced<T>(
  queue: string,
  send: (stamp: Stamp) => Promise<{ readonly tasks: number; readonly value: T }>,
): Promise<T> {
  const api = openTelemetry();
  const parent = api?.context.active();
  if (!api || !parent || !spanOf(parent)) return (await send(asItIs)).value;
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
 * The same for a task that is text already: one that is a JSON object with an `id` gets the fields in front of its own, and
 * stays byte for byte what it was otherwise. Without an `id`, its text is its id, and must not change.
 */
export function stampText(raw: Buffer, trace: Trace): Buffer {
  const { id, value } = parseTask(raw);
  if (!isPlainObject(value) || Buffer.isBuffer(value) || 'traceparent' in value) return raw;
  if (raw.equals(Buffer.from(id))) return raw;
  const brace = raw.indexOf('{') + 1;
  const fields = JSON.stringify(trace).slice(1, -1);
  return Buffer.concat([raw.subarray(0, brace), Buffer.from(`${fields},`), raw.subarray(brace)]);
}
