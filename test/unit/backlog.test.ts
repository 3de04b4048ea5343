/** What a worker has taken and not begun, and how long it will be busy. */
import { expect, test } from 'vitest';
import { pack } from '../../queue/workers/pack.ts';
import { PackedTasks } from '../../queue/workers/packed-tasks.ts';
import { noPast } from '../../queue/workers/past.ts';
import type { Delivery } from '../../queue/workers/turn.ts';
import { createBacklog } from '../../worker/epoch/tasks/backlog.ts';
import { emptyInMs } from '../../worker/epoch/tasks/tasks.ts';

const task = (receipt: string): Delivery => ({
  receipt,
  raw: Buffer.from(receipt),
  past: { attempts: 0, deliveries: 0 },
});
const receipts = (deliveries: readonly Delivery[]): string[] => deliveries.map(({ receipt }) => receipt);

test('tasks are taken in their order, and their bytes are counted', () => {
  const held = createBacklog();
  held.add([task('a'), task('bb')], 5);
  held.add([task('ccc')], 7);
  expect([held.length, held.bytes, held.since]).toEqual([3, 6, 5]);
  expect(held.take()?.receipt).toBe('a');
  expect(held.take()?.receipt).toBe('bb');
  expect([held.length, held.bytes, held.since]).toEqual([1, 3, 7]);
});

test('what is removed is returned, and the rest stays in its order', () => {
  const held = createBacklog();
  held.add([task('a'), task('bb'), task('ccc')], 0);
  expect(receipts(held.remove(({ receipt }) => receipt !== 'bb'))).toEqual(['a', 'ccc']);
  expect([held.bytes, ...receipts(held.deliveries)]).toEqual([2, 'bb']);
  expect(held.take()?.receipt).toBe('bb');
  expect([held.take(), held.bytes, held.nextPast, held.since]).toEqual([undefined, 0, undefined, undefined]);
});

test('the past of the one that begins next is known', () => {
  const held = createBacklog();
  const past = { attempts: 2, deliveries: 1 };
  held.add([{ ...task('a'), past }, task('b')], 0);
  expect(held.nextPast).toEqual(past);
  held.take();
  expect(held.nextPast).toEqual({ attempts: 0, deliveries: 0 });
});

/** Tasks of a reply; each is noted in `unpacked` when it is. */
function packed(names: readonly string[], unpacked: string[] = []): PackedTasks<Delivery> {
  return new PackedTasks(pack(names), (name) => {
    unpacked.push(name.toString());
    return task(name.toString());
  });
}

test('packed tasks count, and are unpacked when the first of them is taken', () => {
  const held = createBacklog();
  const unpacked: string[] = [];
  held.add([task('a')], 5);
  held.add(packed(['bb', 'ccc'], unpacked), 7);
  expect([held.length, held.bytes, held.since]).toEqual([3, 6, 5]);
  expect(held.take()?.receipt).toBe('a');
  expect([held.length, held.bytes, held.since, held.nextPast]).toEqual([2, 5, 7, noPast]);
  expect(unpacked).toEqual([]);
  expect(held.take()?.receipt).toBe('bb');
  expect(held.take()?.receipt).toBe('ccc');
  expect([held.take(), held.length, held.bytes, held.since]).toEqual([undefined, 0, 0, undefined]);
  expect(unpacked).toEqual(['bb', 'ccc']);
});

test('packed tasks keep their place among others', () => {
  const held = createBacklog();
  held.add([task('a')], 0);
  held.add(packed(['b', 'c']), 1);
  held.add(packed(['d']), 2);
  held.add([task('e')], 3);
  expect(receipts(held.deliveries)).toEqual(['a', 'b', 'c', 'd', 'e']);
  expect(receipts(held.remove(({ receipt }) => receipt === 'c'))).toEqual(['c']);
  held.add(packed(['f']), 4);
  expect(receipts(held.remove(() => true))).toEqual(['a', 'b', 'd', 'e', 'f']);
  expect([held.length, held.bytes]).toEqual([0, 0]);
});

test.for([
  ['nothing runs or waits', { oldestMs: undefined, usualMs: 100, held: 0, slots: 4 }, 0],
  ['a task takes as long as others do', { oldestMs: 10, usualMs: 100, held: 0, slots: 4 }, 100],
  [
    'one that has run for longer takes as long again',
    { oldestMs: 300, usualMs: 100, held: 0, slots: 4 },
    300,
  ],
  ['what waits is shared by the slots', { oldestMs: 10, usualMs: 100, held: 8, slots: 4 }, 300],
  ['no slot may be used now', { oldestMs: undefined, usualMs: 100, held: 2, slots: 0 }, 200],
  ['it is unknown how long tasks take', { oldestMs: 50, usualMs: undefined, held: 3, slots: 1 }, 50],
] as const)('%s', ([, load, expected]) => {
  expect(emptyInMs(load)).toBe(expected);
});
