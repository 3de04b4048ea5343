/** What a cluster's nodes report of its slots, and which of it is believed. */
import { expect, test } from 'vitest';
import type { Endpoint } from '../../queue/connection/address.ts';
import { createSlotTable } from '../../queue/connection/cluster/slot-table.ts';
import { redirection } from '../../queue/connection/cluster/slots.ts';

const node = (host: string): Endpoint => ({ host, port: 6379 });
const [a, b, c] = [node('a'), node('b'), node('c')];

test('slots without an owner are taken from any node, known ones only where the owner is in doubt', () => {
  const table = createSlotTable();
  expect(table.empty).toBe(true);
  const first = table.apply([{ from: 0, to: 9, primary: a }], () => false);
  expect([...first]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(table.empty).toBe(false);
  expect(table.set(3, b)).toBe(true);
  expect(table.set(3, node('b'))).toBe(false);
  // a node that has not heard yet that 3 is at b
  expect(table.apply([{ from: 0, to: 9, primary: a }], () => false).size).toBe(0);
  expect(table.ownerOf(3)).toBe(b);
  // a is gone, and c has taken over what it had
  const taken = table.apply([{ from: 0, to: 10, primary: c }], (owner) => owner === a);
  expect([...taken]).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 9, 10]);
  expect(table.ownerOf(3)).toBe(b);
  expect(table.ownerOf(11)).toBeUndefined();
});

test.each([
  ['MOVED 3999 10.0.0.2:6380', { slot: 3_999, node: { host: '10.0.0.2', port: 6_380 } }],
  ['ASK 0 redis-1.redis:6379', { slot: 0, node: { host: 'redis-1.redis', port: 6_379 } }],
  ['MOVED 1 fd00::2:6379', { slot: 1, node: { host: 'fd00::2', port: 6_379 } }],
  ['MOVED 1 :6381', { slot: 1, node: { host: 'a', port: 6_381 } }],
  ['MOVED 16384 10.0.0.2:6380', undefined],
  ['MOVED 1 10.0.0.2:0', undefined],
  ['TRYAGAIN Multiple keys request during rehashing of slot', undefined],
])('%s', (text, expected) => {
  expect(redirection(new Error(text), a)).toEqual(expected);
});

test('without a host, of an unknown replier: the slot alone', () => {
  expect(redirection(new Error('MOVED 3999 :6379'))).toEqual({ slot: 3_999, node: undefined });
});
