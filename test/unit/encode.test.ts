import { MessageChannel } from 'node:worker_threads';

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { encodeResult, MAX_RESULT_BYTES, ResultEncodingError } from '../../worker/task/encode.ts';

describe('encodeResult', () => {
  test.each<[string, unknown, string | Buffer]>([
    ['text', 'as it is\n', 'as it is\n'],
    ['empty text', '', ''],
    ['a Buffer', Buffer.from([0, 255]), Buffer.from([0, 255])],
    ['a Uint8Array', Uint8Array.of(1, 2), Buffer.from([1, 2])],
    ['a part of a buffer', new Uint8Array(Uint8Array.of(1, 2, 3, 4).buffer, 1, 2), Buffer.from([2, 3])],
    ['an ArrayBuffer', Uint8Array.of(7).buffer, Buffer.from([7])],
    ['a DataView', new DataView(Uint8Array.of(8, 9).buffer, 1), Buffer.from([9])],
    ['floats', Float32Array.of(1), Buffer.from([0, 0, 128, 63])],
    ['nothing', undefined, 'null'],
    ['null', null, 'null'],
    ['a number', 1.5, '1.5'],
    ['no number', NaN, 'null'],
    ['a boolean', false, 'false'],
    ['an object', { a: [1, undefined], b: undefined }, '{"a":[1,null]}'],
    ['a Date', new Date(0), '"1970-01-01T00:00:00.000Z"'],
  ])('%s', (_name, value, stored) => {
    expect(encodeResult(value)).toEqual(stored);
  });

  test('bytes are not copied', () => {
    const bytes = new Uint8Array(8);
    const stored = encodeResult(bytes);
    expect(Buffer.isBuffer(stored) && stored.buffer === bytes.buffer).toBe(true);
  });

  const itself: Record<string, unknown> = {};
  itself['me'] = itself;
  const list: unknown[] = [];
  list.push(list);
  test.each<[string, unknown, string]>([
    ['a BigInt', 1n, 'it holds a BigInt; return it as a string'],
    ['a BigInt inside', { a: [1n] }, 'it holds a BigInt; return it as a string'],
    ['a cycle', itself, 'it contains itself (at me)'],
    ['a cycle in a list', list, 'it contains itself (at index 0)'],
    ['a function', () => 1, 'it is a function'],
    ['a symbol', Symbol('s'), 'it is a symbol'],
    ['a toJSON that throws', { toJSON: failInTwoLines }, 'no JSON'],
    ['a toJSON that throws an odd error', { toJSON: failOddly }, 'an error without a message'],
    ['a toJSON of nothing', { toJSON: () => undefined }, 'its toJSON() returned nothing'],
  ])('%s is refused for good, with the reason', (_name, value, reason) => {
    const error = refusal(() => encodeResult(value));
    expect(error.message).toBe(`the result cannot be stored as JSON: ${reason}`);
    expect(Object.hasOwn(error, 'retry') && error.retry).toBe(false);
  });

  test('memory that was handed to another thread is refused', () => {
    const bytes = new Uint8Array(8);
    const { port1 } = new MessageChannel();
    port1.postMessage(bytes, [bytes.buffer]);
    port1.close();
    expect(refusal(() => encodeResult(bytes)).message).toMatch(/handed to another thread$/);
  });

  test('the size limit counts bytes, not characters', () => {
    expect(encodeResult('ää', 4)).toBe('ää');
    expect(refusal(() => encodeResult('ää', 3)).message).toBe(
      'the result is too large: it has 4 bytes, and at most 3 are allowed here; ' +
        'store it elsewhere and return a reference',
    );
    expect(refusal(() => encodeResult(Buffer.alloc(4), 3)).message).toMatch(/it has 4 bytes/);
    expect(refusal(() => encodeResult([1, 2], 4)).message).toMatch(/it has 5 bytes/);
  });

  test('the default limit is that of Redis', () => {
    expect(MAX_RESULT_BYTES).toBe(512 * 1024 * 1024);
    const size = MAX_RESULT_BYTES + 1;
    expect(refusal(() => encodeResult(new Uint8Array(size))).message).toMatch(`it has ${size} bytes`);
  });

  test('any JSON value is read back unchanged', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        fc.pre(typeof value !== 'string');
        expect(JSON.parse(encodeResult(value).toString())).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});

function refusal(run: () => unknown): ResultEncodingError {
  try {
    run();
  } catch (error) {
    if (error instanceof ResultEncodingError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

function failOddly(): never {
  throw Object.assign(new Error('x'), { name: '', message: 7 });
}

function failInTwoLines(): never {
  throw new Error('no JSON\nof mine');
}
