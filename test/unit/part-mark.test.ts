/** The mark of a part, and when its bytes are needed for it: a worker reads the marks of many. */
import { expect, test } from 'vitest';
import { partMarkOf } from '../../queue/batch-mark.ts';

const unread = {
  get raw(): Buffer {
    throw new Error('its bytes were made');
  },
};

test.each([
  ['no part', { id: 'a' }, undefined],
  ['a part that the library has added', { id: 'b:1', batch: { id: 'b' } }, { id: 'b' }],
  [
    'a part that names the size and what follows as text',
    { id: 'a', batch: { id: 'b', size: 3, then: 'after' } },
    { id: 'b', size: 3, then: { raw: 'after', id: 'after' } },
  ],
])('of %s, the bytes are not read', (_what, value, expected) => {
  expect(partMarkOf(value, value.id, unread)).toEqual(expected);
});

test('what follows is as it is written in the bytes', () => {
  const raw = Buffer.from('{"id":"a","batch":{"id":"b","size":2,"then":{"id":"t","n":1.0}}}');
  const value: unknown = JSON.parse(raw.toString());
  expect(partMarkOf(value, 'a', { raw })?.then).toEqual({ id: 't', raw: '{"id":"t","n":1.0}' });
});
