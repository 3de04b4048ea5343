/** A trace in a task that is text already: the shell's TRACEPARENT on its way through `millrace enqueue`. */
import { expect, test } from 'vitest';
import { parseTask } from '../../queue/task.ts';
import { stampText } from '../../queue/tracing.ts';
import { readTrace } from '../../runtime/opentelemetry.ts';

const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
const fields = `"traceparent":"${traceparent}"`;

test.each([
  ['{"id":"a1","n":2}', `{${fields},"id":"a1","n":2}`],
  [' \n{ "id": 12345678901234567890 }\n', ` \n{${fields}, "id": 12345678901234567890 }\n`],
  ['{"n":1.0,"id":"ä"}', `{${fields},"n":1.0,"id":"ä"}`],
])('%j', (text, expected) => {
  const raw = Buffer.from(text);
  const stamped = stampText(raw, { traceparent });
  expect(stamped.toString()).toBe(expected);
  expect(parseTask(stamped).id).toBe(parseTask(raw).id);
  expect(JSON.parse(stamped.toString())).toMatchObject({ traceparent });
});

test.each([
  ['text', 'hello'],
  ['an array', '[{"id":1}]'],
  ['an object whose text is its id', '{"n":1}'],
  ['an empty object', '{}'],
  ['what is no JSON', '{"id":1'],
  ['one that brings its own', '{"id":1,"traceparent":"mine"}'],
  ['bytes', Buffer.from([0x7b, 0xff])],
])('%s stays as it is', (_what, task) => {
  const raw = Buffer.from(task);
  expect(stampText(raw, { traceparent, tracestate: 'a=b' })).toEqual(raw);
});

test.each([
  [{ traceparent }, { traceparent }],
  [
    { traceparent, tracestate: 'a=b', id: 1 },
    { traceparent, tracestate: 'a=b' },
  ],
  [{ traceparent, tracestate: '' }, { traceparent }],
  [
    { traceparent, tracestate: 'a=b, 1t@v-2=x y,,c*/_-=!' },
    { traceparent, tracestate: 'a=b, 1t@v-2=x y,,c*/_-=!' },
  ],
  ...[
    'a',
    'a=',
    'A=b',
    'a=b\r\nx: y',
    'a=b\0',
    'a=ä',
    'a=b,a=c',
    'a==b',
    ',',
    `a=${'b'.repeat(511)}`,
    'x'.repeat(3e5),
  ].map((tracestate): [object, object] => [{ traceparent, tracestate }, { traceparent }]),
  [{ traceparent, tracestate: Array.from({ length: 33 }, (_, i) => `k${i}=v`).join(',') }, { traceparent }],
  [{ traceparent: traceparent.replace('a'.repeat(32), '0'.repeat(32)) }, undefined],
  [{ traceparent: traceparent.replace('00', 'ff') }, undefined],
  [{ traceparent: `${traceparent}x` }, undefined],
  [{ traceparent: 7 }, undefined],
  [{ tracestate: 'a=b' }, undefined],
])('the trace of %j', (object, trace) => {
  expect(readTrace(object)).toEqual(trace);
});
