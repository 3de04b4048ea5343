/** Frames between the worker and a process of the Python package; what the package makes of them is in python/tests/test_frames.py. */
import { describe, expect, test } from 'vitest';
import {
  followingNumber,
  frameReader,
  mayRunTogether,
  resultsIn,
  runsFrame,
} from '../../worker/handlers/python-frames.ts';

const task = {
  id: 'a',
  raw: Buffer.from('{"n":1}'),
  attempt: 1,
  queue: 'mail',
  trace: undefined,
  isJson: true,
};

test('the number after the last one is 1, as 0 is none', () => {
  expect([followingNumber(0, 1), followingNumber(7, 3), followingNumber(0xffff_ffff, 1)]).toEqual([1, 10, 1]);
});

test.each([
  ['a first attempt at a task in JSON', {}, true],
  ['a task that is no JSON', { isJson: false }, false],
  ['a later attempt', { attempt: 2 }, false],
  ['a task of a trace', { trace: { traceparent: '00-1' } }, false],
  ['a task whose id is bytes', { id: Buffer.from('a') }, false],
  ['a large task', { raw: Buffer.alloc(16_385) }, false],
])('together with others goes %s', (_what, about, expected) => {
  expect(mayRunTogether({ ...task, ...about })).toBe(expected);
});

test('RUNS: sizes, names and an array', () => {
  const tasks = [task, { ...task, id: 'ü', raw: Buffer.from('[2]') }];
  const found: [number, number, string][] = [];
  const read = frameReader(
    1_000,
    (kind, number, body) => found.push([kind, number, body.toString('latin1')]),
    () => undefined,
  );
  read(runsFrame(5, tasks, false));
  read(runsFrame(6, tasks, true));
  const u32 = (...values: number[]): string =>
    values.map((value) => `${String.fromCharCode(value)}\0\0\0`).join('');
  expect(found).toEqual([
    [7, 5, `${u32(2, 4, 7, 3)}mail[{"n":1},[2]]`],
    [7, 6, `${u32(2, 4, 7, 3, 1, 2)}maila\xc3\xbc[{"n":1},[2]]`],
  ]);
});

test('RUNS of tasks whose texts are known are the same, without making bytes of each', () => {
  const texts = ['{"n":1}', '[2, "x"]', '{}'];
  const bytes = texts.map((text) => ({ ...task, raw: Buffer.from(text) }));
  const unread = texts.map((text) => ({
    ...task,
    text,
    get raw(): Buffer<ArrayBuffer> {
      throw new Error('its bytes were made');
    },
  }));
  expect(unread.every((one) => mayRunTogether(one))).toBe(true);
  expect(runsFrame(9, unread, true)).toEqual(runsFrame(9, bytes, true));
  // one of which the text is not known is among them
  const mixed = bytes.map((one, i) => (i === 1 ? one : { ...one, text: texts[i] }));
  expect(runsFrame(9, mixed, true)).toEqual(runsFrame(9, bytes, true));
});

test('RUNS: halves of a character that are the end of one id and the beginning of the next stay apart', () => {
  const halves = [
    { ...task, id: 'a\ud83d' },
    { ...task, id: '\ude00b' },
  ];
  const half = '\xef\xbf\xbd';
  expect(runsFrame(1, halves, true).toString('latin1')).toContain(`maila${half}${half}b[`);
});

describe('RESULTS', () => {
  const body = (...results: readonly (string | Buffer)[]): Buffer => {
    const bytes = results.map((result) => Buffer.from(result));
    const head = Buffer.alloc(4 + 4 * bytes.length);
    [bytes.length, ...bytes.map(({ length }) => length)].forEach((value, i) =>
      head.writeUInt32LE(value, 4 * i),
    );
    return Buffer.concat([head, ...bytes]);
  };

  test.each([
    ['text', ['a', '', 'bc']],
    ['text beyond ASCII', ['a', 'ü', '']],
    ['bytes', ['a', Buffer.from([0, 255]), '7']],
  ])('%s is what it was', (_what, results) => {
    expect(resultsIn(body(...results)).map((result) => Buffer.from(result))).toEqual(
      results.map((result) => Buffer.from(result)),
    );
  });

  test.each([
    ['one that ends within a result', body('abc').subarray(0, -1)],
    ['one that goes on', Buffer.concat([body('abc'), Buffer.from('d')])],
    ['one that ends within its sizes', body('abc', 'd').subarray(0, 8)],
    ['an empty one', Buffer.alloc(0)],
  ])('%s is refused', (_what, bytes) => {
    expect(() => resultsIn(bytes)).toThrow(RangeError);
  });
});
