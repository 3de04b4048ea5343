/** Which ids of parts are those that the library makes: `BATCH:NUMBER`. */
import { expect, test } from 'vitest';
import { partNumber } from '../../queue/batch-mark.ts';

test.for([
  ['b:0', 0],
  ['b:7', 7],
  ['b:999999999', 999_999_999],
  ['b:1000000000', undefined],
  ['b:07', undefined],
  ['b:00', undefined],
  ['b:', undefined],
  ['b', undefined],
  ['b:1a', undefined],
  ['b:-1', undefined],
  ['b:1.0', undefined],
  ['b: 1', undefined],
  ['b:١', undefined],
  ['bb:1', undefined],
  ['b/1', undefined],
  ['B:1', undefined],
] as const)('%s', ([id, number]) => {
  expect(partNumber('b', id)).toBe(number);
});

test('a binary id has no number', () => {
  expect(partNumber('b', Buffer.from('b:1'))).toBeUndefined();
});
