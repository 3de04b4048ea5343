/** A trace from enqueueing to running, with OpenTelemetry's own SDK; and no trace without it. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-node';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { openQueue } from '../../queue/queue.ts';
import type { Handler, TaskContext } from '../../worker/task/handler.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const tracer = trace.getTracer('test');

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(() => {
  provider.register();
  exporter.reset();
  return async () => {
    trace.disable();
    context.disable();
    propagation.disable();
    await provider.forceFlush();
  };
});

function spans(count: number): Promise<ReadableSpan[]> {
  return eventually(() => {
    const found = exporter.getFinishedSpans();
    if (found.length < count) throw new Error(`${found.length} of ${count} spans`);
    return found;
  });
}

const inSpan = <T>(name: string, run: () => Promise<T>): Promise<T> =>
  tracer.startActiveSpan(name, (span) => run().finally(() => span.end()));

const named = (all: readonly ReadableSpan[], name: string): ReadableSpan => {
  const found = all.filter((span) => span.name === name);
  if (found.length !== 1 || !found[0]) throw new Error(`${found.length} spans ${name}`);
  return found[0];
};

test('one trace: the caller, the enqueueing, the attempt, and what the handler does in it', async () => {
  const keys = freshKeys();
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  const id = await inSpan('request', () => queue.enqueue({ n: 1 }));
  const [raw = ''] = await redis.lrange(keys.queue, 0, -1);
  let seen: TaskContext | undefined;
  const handler: Handler = (_task, given) => {
    seen = given;
    return inSpan('compute', () => Promise.resolve('done'));
  };
  await using _worker = startWorker(server, keys, { handler });
  expect(await queue.result(id)).toBe('done');

  const all = await spans(4);
  const send = named(all, `send ${keys.queue}`);
  const process = named(all, `process ${keys.queue}`);
  expect(new Set(all.map((span) => span.spanContext().traceId)).size).toBe(1);
  expect(send.kind).toBe(SpanKind.PRODUCER);
  expect(send.parentSpanContext?.spanId).toBe(named(all, 'request').spanContext().spanId);
  expect(process.kind).toBe(SpanKind.CONSUMER);
  expect(process.parentSpanContext?.spanId).toBe(send.spanContext().spanId);
  expect(process.links.map((link) => link.context.spanId)).toEqual([send.spanContext().spanId]);
  expect(process.status.code).toBe(SpanStatusCode.UNSET);
  expect(process.attributes).toMatchObject({
    'messaging.system': 'millrace',
    'messaging.operation.type': 'process',
    'messaging.destination.name': keys.queue,
    'messaging.message.id': id,
    'millrace.task.attempt': 1,
    'millrace.task.outcome': 'result',
  });
  expect(named(all, 'compute').parentSpanContext?.spanId).toBe(process.spanContext().spanId);
  // a field beside the others, and what the handler may pass on is the span of its attempt
  const { traceId, spanId } = send.spanContext();
  expect(JSON.parse(raw)).toEqual({ id, n: 1, traceparent: `00-${traceId}-${spanId}-01` });
  expect(seen?.trace?.traceparent).toBe(`00-${traceId}-${process.spanContext().spanId}-01`);
});

test('a failed attempt is an error in its span, and each attempt has one', async () => {
  const keys = freshKeys();
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  const ids = await inSpan('request', () => queue.enqueueMany([{ id: 'a' }, { id: 'b' }]));
  const handler: Handler = (task, { attempt }) => {
    if ((task as { id: string }).id === 'b') throw Object.assign(new TypeError('never'), { retry: false });
    if (attempt === 1) return Promise.reject(new RangeError('not yet'));
    return 'in the end';
  };
  await using _worker = startWorker(server, keys, { handler });
  expect(await queue.result(ids[0] ?? '')).toBe('in the end');
  const all = await spans(5);
  expect(named(all, `send ${keys.queue}`).attributes).toMatchObject({ 'messaging.batch.message_count': 2 });
  const attempts = all
    .filter(({ name }) => name === `process ${keys.queue}`)
    .map(({ attributes, status, events }) => [
      attributes['messaging.message.id'],
      attributes['millrace.task.attempt'],
      attributes['millrace.task.outcome'],
      status.code,
      attributes['error.type'],
      events.map(({ name }) => name),
    ]);
  expect(new Set(attempts)).toEqual(
    new Set([
      ['a', 1, 'retry', SpanStatusCode.ERROR, 'RangeError', ['exception']],
      ['a', 2, 'result', SpanStatusCode.UNSET, undefined, []],
      ['b', 1, 'dead', SpanStatusCode.ERROR, 'TypeError', ['exception']],
    ]),
  );
});

test('a task that is no object, or has a trace of its own, is pushed unchanged, as is any task without a span', async () => {
  const keys = freshKeys();
  await using queue = openQueue({ redis: server.url, queue: keys.queue, result: keys.result });
  const own = { id: 'c', traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00` };
  const tasks = ['text', '{"id":"a"}', Buffer.from([0xff]), [1, 2], 7, own];
  await inSpan('request', () => queue.enqueueMany(tasks));
  await context.with(ROOT_CONTEXT, () => queue.enqueue({ id: 'd' }));
  expect((await redis.lrangeBuffer(keys.queue, 0, -1)).toReversed()).toEqual(
    ['text', '{"id":"a"}', Buffer.from([0xff]), '[1,2]', '7', JSON.stringify(own), '{"id":"d"}'].map((task) =>
      Buffer.from(task),
    ),
  );
  const traces = new Map<string, string | undefined>();
  const handler: Handler = (_task, { id, trace: given }) =>
    void traces.set(id.toString(), given?.traceparent.slice(3, 35));
  await using _worker = startWorker(server, keys, { handler });
  await eventually(() => expect(traces.size).toBe(7));
  expect(traces.get('c')).toBe('a'.repeat(32));
  // each of the others begins a trace of its own, and their texts are in none; what was not sampled stays so
  expect(new Set(traces.values()).size).toBe(7);
  const attributes = JSON.stringify((await spans(8)).map((span) => span.attributes));
  expect(attributes).not.toContain('"messaging.message.id":"text"');
});

test('without an SDK: the task as it was, its trace for the handler, and nothing of OpenTelemetry loaded', async () => {
  const keys = freshKeys();
  const script = `
    import { createRequire } from 'node:module';
    import { openQueue } from './queue/queue.ts';
    import { startWorker } from './test/support/workers.ts';
    const traceparent = '00-${'a'.repeat(32)}-${'b'.repeat(16)}-01';
    const address = { url: ${JSON.stringify(server.url)} };
    const keys = ${JSON.stringify({ queue: keys.queue, result: keys.result })};
    const queue = openQueue({ redis: address, ...keys });
    const worker = startWorker({ address }, keys, { handler: (task, { trace }) => ({ task, trace }) });
    const ids = await queue.enqueueMany([{ id: 'with', traceparent }, { id: 'without' }, { id: 'odd', traceparent: 'x' }]);
    const results = await Promise.all(ids.map((id) => queue.result(id, { as: 'json' })));
    await worker.stop();
    await queue.close();
    const loaded = Object.keys(createRequire(import.meta.url).cache).filter((file) => file.includes('opentelemetry'));
    console.log(JSON.stringify({ results, loaded, registered: Symbol.for('opentelemetry.js.api.1') in globalThis }));
  `;
  const cwd = join(import.meta.dirname, '../..');
  const run = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { cwd });
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
  expect(JSON.parse(run.stdout)).toEqual({
    results: [
      { task: { id: 'with', traceparent }, trace: { traceparent } },
      { task: { id: 'without' } },
      { task: { id: 'odd', traceparent: 'x' } },
    ],
    loaded: [],
    registered: false,
  });
});
