/** Work for very many keys runs in batches, and leaves room in between. */
import { expect, test } from 'vitest';
import { createBatches } from '../../controller/sample/batches.ts';
import { eventually } from '../support/eventually.ts';

const keys = (count: number): string[] => Array.from({ length: count }, (_, i) => `k${i}`);

test('all keys run once, in order, never more than a batch at a time', async () => {
  const begun: string[] = [];
  let active = 0;
  let most = 0;
  const run = async (key: string): Promise<void> => {
    begun.push(key);
    most = Math.max(most, ++active);
    await new Promise((resolve) => void setImmediate(resolve));
    active--;
  };
  using batches = createBatches({ run, size: 8, timeoutMs: 60_000 });
  batches.add(keys(100));
  // these are queued already
  batches.add(keys(50).slice(8));
  await eventually(() => expect(begun).toHaveLength(100));
  expect(begun).toEqual(keys(100));
  expect(most).toBe(8);
});

test('whatever else waits for the event loop runs between two batches', async () => {
  const order: string[] = [];
  const run = (key: string): Promise<void> => Promise.resolve(void order.push(key));
  using batches = createBatches({ run, size: 2 });
  batches.add(keys(6));
  setImmediate(() => order.push('other'));
  await eventually(() => expect(order).toHaveLength(7));
  expect(order.indexOf('other')).toBeLessThan(5);
});

test('a key that is dropped is left out; one that has run may be added again', async () => {
  const begun: string[] = [];
  using batches = createBatches({ run: (key) => Promise.resolve(void begun.push(key)), size: 1 });
  batches.add(['a', 'b', 'c']);
  batches.drop('b');
  await eventually(() => expect(begun).toEqual(['a', 'c']));
  batches.add(['a']);
  await eventually(() => expect(begun).toEqual(['a', 'c', 'a']));
});

test('a batch that gets no reply does not hold up the next one', async () => {
  const begun: string[] = [];
  const never = new Promise<void>(() => {});
  const run = (key: string): Promise<void> => {
    begun.push(key);
    return never;
  };
  using batches = createBatches({ run, size: 2, timeoutMs: 1 });
  batches.add(keys(5));
  await eventually(() => expect(begun).toEqual(keys(5)));
});
