/** Equal texts and parts of many objects, as one copy. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { createSharing } from '../../kube/sharing.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** A pool of a fleet, whose name alone is its own. */
const text = (name = 'one'): string =>
  JSON.stringify({
    name,
    spec: {
      image: `registry.example/${'team/'.repeat(30)}worker`,
      sizes: [1, null, 'a text in an array'],
      limits: { cpu: '100m', memory: '128Mi', nothing: {} },
    },
  });

/** Bytes that each of many copies takes. */
function bytesOf(copy: (i: number) => unknown): number {
  const count = 20_000;
  collect();
  const before = process.memoryUsage().heapUsed;
  const all = Array.from({ length: count }, (_, i) => copy(i));
  collect();
  const bytes = (process.memoryUsage().heapUsed - before) / count;
  expect(all).toHaveLength(count);
  return bytes;
}

test('takes less memory, and is the same', () => {
  const share = createSharing();
  expect(share(JSON.parse(text()))).toEqual(JSON.parse(text()));
  const apart = bytesOf((i) => JSON.parse(text(`pool-${i}`)));
  const together = bytesOf((i) => share(JSON.parse(text(`pool-${i}`))));
  expect(apart).toBeGreaterThan(400);
  expect(together).toBeLessThan(150);
});

test('equal parts are one object, whatever is around them', () => {
  const share = createSharing();
  const [one, other] = [share(JSON.parse(text('one'))), share(JSON.parse(text('other')))];
  expect(one.spec).toBe(other.spec);
  expect(one).not.toBe(other);
  expect(share([one.spec.limits])[0]).toBe(one.spec.limits);
  expect(share(one)).toBe(one);
});

test.each([
  [{ a: 1 }, { a: '1' }],
  [{ a: null }, { a: 'null' }],
  [
    { a: 1, b: 2 },
    { b: 2, a: 1 },
  ],
  [['a', 'b'], { 0: 'a', 1: 'b' }],
  [['a', 'b'], ['a"b']],
  [{ a: 'b1:c1"d' }, { a: 'b', c: 'd' }],
  [[[], []], [[[]]]],
  [{}, []],
])('%j and %j stay two', (one, other) => {
  const share = createSharing();
  const texts = [JSON.stringify(one), JSON.stringify(other)];
  expect([share(one), share(other)].map((value) => JSON.stringify(value))).toEqual(texts);
});

test('a field that is called as the prototype is', () => {
  const share = createSharing();
  const odd = '{"__proto__":{"a":["a text of some length"]},"b":1}';
  for (let i = 0; i < 2; i++) {
    const value = share(JSON.parse(odd));
    expect(JSON.stringify(value)).toBe(odd);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  }
});

test.each([['plain'], [7], [true], [null], [undefined]])('%j stays as it is', (value) => {
  expect(createSharing()(value)).toBe(value);
});

test('more texts and parts than it keeps', () => {
  const share = createSharing();
  const value = (i: number): object => ({ name: `one of very many names, number ${i}`, inner: { i } });
  for (let i = 0; i < 10_000; i++) expect(share(value(i))).toEqual(value(i));
});

test('what is nested as deeply as the API server allows is as it was', () => {
  const share = createSharing();
  const deep = (): unknown => {
    const levels = 9_990;
    return JSON.parse(`${'{"a":['.repeat(levels / 2)}1${']}'.repeat(levels / 2)}`);
  };
  const level = (value: unknown, count: number): unknown => {
    let at = value;
    for (let i = 0; i < count; i++) at = Object.values(at as object)[0];
    return at;
  };
  for (const shared of [share(deep()), share(deep())]) expect(level(shared, 9_990)).toBe(1);
});
