/** Equal texts of many objects, as one copy. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { createTextSharing } from '../../kube/share-texts.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const text = JSON.stringify({
  spec: { image: `registry.example/${'team/'.repeat(30)}worker`, sizes: [1, null, 'a text in an array'] },
});

/** Bytes that each of many copies takes. */
function bytesOf(copy: () => unknown): number {
  const count = 20_000;
  collect();
  const before = process.memoryUsage().heapUsed;
  const all = Array.from({ length: count }, copy);
  collect();
  const bytes = (process.memoryUsage().heapUsed - before) / count;
  expect(all).toHaveLength(count);
  return bytes;
}

test('takes less memory, and is the same', () => {
  const share = createTextSharing();
  expect(share(JSON.parse(text))).toEqual(JSON.parse(text));
  const apart = bytesOf(() => JSON.parse(text));
  const together = bytesOf(() => share(JSON.parse(text)));
  expect(apart - together).toBeGreaterThan(150);
});

test.each([['plain'], [7], [true], [null], [undefined]])('%j stays as it is', (value) => {
  expect(createTextSharing()(value)).toBe(value);
});

test('more texts than it keeps', () => {
  const share = createTextSharing();
  const value = (i: number): object => ({ name: `one of very many names, number ${i}` });
  for (let i = 0; i < 10_000; i++) expect(share(value(i))).toEqual(value(i));
});
