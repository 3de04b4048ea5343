import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { deadHeader, parseDead, parseHeader } from '../../queue/dead-letter-format.ts';
import { delayedMember, encodeTask, parseTask, parseTaskHead, parseTextTask } from '../../queue/task.ts';

/** The id, by all readers. */
function idOf(task: string): unknown {
  const raw = Buffer.from(task);
  const { id } = parseTask(raw);
  expect(parseTextTask({ text: task, raw }).id).toEqual(id);
  expect(parseTaskHead(raw).id).toEqual(id);
  return id;
}

describe('parseTask', () => {
  test.each([
    ['{"id":"a"}', 'a'],
    ['{"id":""}', ''],
    [' \n\t{ "n" : 1 , "id" : "a" } ', 'a'],
    ['{"id":"\\u00e9\\n"}', 'é\n'],
    ['{"id":"first","id":"last"}', 'last'],
    ['{"id":7}', '7'],
    ['{"id":-0}', '-0'],
    ['{"id":1.0}', '1.0'],
    ['{"id":1e3}', '1e3'],
    ['{"id":12345678901234567890}', '12345678901234567890'],
    ['{"inner":{"id":1},"id":2.0}', '2.0'],
    ['{"id":2.0,"inner":{"id":1.50}}', '2.0'],
  ])('%s has the id %s', (task, id) => expect(idOf(task)).toBe(id));

  test.each([
    'task1',
    '',
    ' ',
    '"id"',
    '7',
    'null',
    'true',
    '[{"id":"a"}]',
    '{}',
    '{"n":1}',
    '{"id":null}',
    '{"id":true}',
    '{"id":["a"]}',
    '{"id":{"id":"a"}}',
    '{"id":"a"',
    '{"id":"a"}}',
    "{'id':'a'}",
    '\ufeff{"id":"a"}',
  ])('%j is its own id', (task) => expect(idOf(task)).toBe(task));

  test('what is not UTF-8 is its own id and value, byte for byte', () => {
    const raw = Buffer.from([0x7b, 0xff, 0x7d]);
    expect(parseTask(raw)).toEqual({ id: raw, value: raw });
  });

  test('the value is parsed where it is an object or an array, and else the text', () => {
    for (const [text, value] of [
      ['{"id":"a","n":[1]}', { id: 'a', n: [1] }],
      ['[1]', [1]],
      ['7', '7'],
      ['{no JSON', '{no JSON'],
    ] as const) {
      const raw = Buffer.from(text);
      expect([parseTask(raw).value, parseTextTask({ text, raw }).value]).toEqual([value, value]);
    }
  });

  test('deeper than the stack', () => {
    const deep = `{"id":1.0,"n":${'['.repeat(200_000)}${']'.repeat(200_000)}}`;
    expect(() => idOf(deep)).not.toThrow();
  });

  test('any bytes have an id, and the same one each time', () => {
    const bytes = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(bytes, (some) => {
        const raw = Buffer.from(some);
        const { id } = parseTask(raw);
        expect(typeof id === 'string' || Buffer.isBuffer(id)).toBe(true);
        expect(parseTask(raw).id).toEqual(id);
      }),
    );
  });
});

describe('parseTaskHead', () => {
  const words = [
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '"id"',
    '"id":',
    '"\\u0069d":',
    '"a"',
    '"\\',
    '\\u12',
    '0',
    '1.5',
    '01',
    '-',
    '1e',
    'e5',
    'true',
    'nul',
    ' ',
    '\n',
    '\t',
    '\u0001',
    'é',
    '\ufeff',
    '\ufffd',
  ];
  test('finds the same id as parsing, for any bytes', () => {
    const almostJson = fc.oneof(
      fc.array(fc.constantFrom(...words), { maxLength: 12 }).map((parts) => Buffer.from(parts.join(''))),
      fc
        .array(fc.constantFrom(...words), { maxLength: 8 })
        .map((parts) => Buffer.from(`{"id":${parts.join('')}}`)),
      fc.json().map((text) => Buffer.from(text)),
      fc
        .tuple(fc.json(), fc.jsonValue())
        .map(([n, id]) => Buffer.from(`{"n":${n},"id":${JSON.stringify(id)}}`)),
      fc.tuple(fc.json(), fc.nat(), fc.uint8Array({ maxLength: 2 })).map(([text, at, bytes]) => {
        const raw = Buffer.from(text);
        const cut = at % (raw.length + 1);
        return Buffer.concat([raw.subarray(0, cut), bytes, raw.subarray(cut + 1)]);
      }),
    );
    fc.assert(
      fc.property(almostJson, (raw) => {
        const whole = parseTask(raw);
        const head = parseTaskHead(raw);
        expect(head.id).toEqual(whole.id);
        expect(typeof head.value).toBe(typeof whole.value);
        expect(Array.isArray(head.value)).toBe(Array.isArray(whole.value));
        expect(Buffer.isBuffer(head.value)).toBe(Buffer.isBuffer(whole.value));
      }),
      { numRuns: 1_000 },
    );
  });

  test.each([
    ['{"a":{"traceparent":"no"},"traceparent":"yes","tracestate":7}', { traceparent: 'yes' }],
    [
      '{"traceparent":"first","traceparent":"last","tracestate":"\\u0061"}',
      { traceparent: 'last', tracestate: 'a' },
    ],
    ['[{"traceparent":"no"}]', []],
    ['text', 'text'],
  ])('%s', (text, value) => expect(parseTaskHead(Buffer.from(text)).value).toEqual(value));

  test('deeper than the stack', () => {
    const deep = `{"n":${'['.repeat(200_000)}${']'.repeat(200_000)},"id":1.0}`;
    expect(parseTaskHead(Buffer.from(deep)).id).toBe('1.0');
  });
});

describe('encodeTask', () => {
  test('a worker finds the id that the client received, for any task', () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.uint8Array(), fc.string({ unit: 'binary' })), (task) => {
        const { id, raw } = encodeTask(task);
        expect(parseTask(Buffer.from(raw)).id.toString()).toBe(id.toString());
      }),
    );
  });

  test.each([
    [{ id: null, n: 1 }, /^\{"id":"[\da-f-]{36}","n":1\}$/],
    [{ n: 1 }, /^\{"id":"[\da-f-]{36}","n":1\}$/],
    [{ id: NaN, n: 1 }, /^\{"id":"[\da-f-]{36}","n":1\}$/],
    [new Date(0), /^"1970-01-01T00:00:00.000Z"$/],
    [null, /^null$/],
    [true, /^true$/],
  ])('%j', (task, raw) => expect(encodeTask(task).raw.toString()).toMatch(raw));

  test('the object that was given is not changed', () => {
    const task = Object.freeze({ n: 1 });
    expect(encodeTask(task).id).not.toBe(encodeTask(task).id);
  });

  test.each([[undefined], [Symbol('s')], [() => 1], [1n]])('%s is refused', (task) =>
    expect(() => encodeTask(task)).toThrow(TypeError),
  );

  test.each([
    ['ArrayBuffer', new ArrayBuffer(2)],
    ['Uint16Array', new Uint16Array(2)],
    ['Map', new Map([['a', 1]])],
    ['Set', new Set([1])],
    ['Promise', Promise.resolve(1)],
  ])('a %s, of which JSON would keep nothing, is refused', (name, task) => {
    expect(() => encodeTask(task)).toThrow(`a task cannot be ${name}: `);
  });

  test('a view is taken as the bytes that it shows', () => {
    const all = new Uint8Array([1, 2, 3, 4]);
    expect(encodeTask(all.subarray(1, 3)).raw).toEqual(Buffer.from([2, 3]));
  });
});

test('a delayed member ends with the bytes of its task', () => {
  const raw = Buffer.from([0x7c, 0xff, 0x0a]);
  expect(delayedMember('nonce', raw)).toEqual(Buffer.concat([Buffer.from('nonce|0|0|'), raw]));
});

describe('dead letters', () => {
  test('any bytes and any words come back', () => {
    const header = fc.record({
      error: fc.string({ unit: 'binary' }),
      attempts: fc.nat(),
      worker: fc.string(),
      id: fc.string(),
    });
    fc.assert(
      fc.property(header, fc.uint8Array(), fc.nat(), (about, task, at) => {
        const raw = Buffer.from(task);
        const entry = Buffer.concat([Buffer.from(`${at} ${deadHeader(about)}\n`), raw]);
        expect(parseDead(entry)).toEqual({ ...about, at, raw });
        expect(parseHeader(Buffer.from(deadHeader(about)))).toEqual(about);
      }),
    );
  });

  test.each(['', 'text', '1 {}', ' \n', '12 not JSON\ntask', '-1 {}\ntask', '9000000000000000 {}\ntask'])(
    '%j is no dead letter',
    (entry) => expect(() => parseDead(Buffer.from(entry))).toThrow(SyntaxError),
  );

  test('a foreign value among the errors is the error', () => {
    expect(parseHeader(Buffer.from('boom'))).toEqual({ error: 'boom', attempts: 0, worker: '' });
  });
});
