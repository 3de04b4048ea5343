import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { distribute, ITEMS, KINDS, type Kind } from '../../queue/move/batch.ts';
import { partitionOf } from '../../queue/partitions.ts';

const items = (...texts: string[]): Buffer[] => texts.map((text) => Buffer.from(text));
const dead = (task: string): string => `1 {"error":"","attempts":1,"worker":"","id":"a"}\n${task}`;

test.each([
  ['queue', ['|{"id":"a"}']],
  ['queue', ['1:2:x:3|{"id":"a"}']],
  ['suspects', ['1:2:x:3|{"id":"a"}']],
  ['delayed', ['5', 'nonce|0|0|{"id":"a"}']],
  ['delayed', ['5', '{"id":"a"}']],
  ['dead', [dead('{"id":"a"}')]],
] as [Kind, string[]][])('of %s, %j goes to the partition of its id', (kind, texts) => {
  const shares = distribute({ number: '1', kind, items: items(...texts) }, 16, 0);
  expect(shares.findIndex((share) => share.length > 0)).toBe(partitionOf('a', 16));
});

test('each item is in one share, in its order, whatever is in it', () => {
  const value = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(
      fc.constantFrom(...KINDS.filter((kind) => kind !== 'stats')),
      fc.array(fc.tuple(value, value)),
      fc.integer({ min: 1, max: 20 }),
      (kind, pairs, partitions) => {
        const all = pairs.flatMap((pair, i) =>
          ITEMS[kind] === 1 ? [pair[0]] : [Buffer.from(String(i)), pair[1]],
        );
        const shares = distribute({ number: '1', kind, items: all }, partitions, 0);
        const hex = (list: readonly Buffer[]): string[] => list.map((one) => one.toString('hex'));
        expect(hex(shares.flat()).toSorted()).toEqual(hex(all).toSorted());
        if (partitions === 1) expect(hex(shares.flat())).toEqual(hex(all));
      },
    ),
  );
});

test('due times move by the difference of the clocks; counters go to the first partition, but for those of the old place', () => {
  expect(distribute({ number: '1', kind: 'delayed', items: items('5', 'x') }, 1, 100)).toEqual([
    items('105', 'x'),
  ]);
  const counters = items('marks', '3', 'completed', '7', 'asideSince', '1');
  expect(distribute({ number: '1', kind: 'stats', items: counters }, 2, 0)).toEqual([
    items('completed', '7'),
    [],
  ]);
});
