import calculateSlot from 'cluster-key-slot';
import { describe, expect, test } from 'vitest';

import { queueKeys } from '../../queue/keys.ts';
import {
  MAX_PARTITIONS,
  parsePartitions,
  partitionedKeys,
  partitionKeys,
  partitionOf,
} from '../../queue/partitions.ts';

describe('partitionKeys', () => {
  test('one partition is an ordinary queue', () => {
    const [only, ...others] = partitionKeys('tiles', 'result', 1);
    expect(others).toEqual([]);
    expect(JSON.stringify(only)).toBe(JSON.stringify(queueKeys('tiles', 'result')));
  });

  test('each list has a result hash in its own slot', () => {
    const all = partitionKeys('tiles', 'result', 16);
    expect(all.map(({ queue }) => queue)).toEqual(Array.from({ length: 16 }, (_, i) => `tiles:{${i}}`));
    for (const { queue, result, delayed } of all) {
      expect(calculateSlot(result)).toBe(calculateSlot(queue));
      expect(calculateSlot(delayed)).toBe(calculateSlot(queue));
    }
  });

  test.each([0, -1, 1.5, Number.NaN, MAX_PARTITIONS + 1])('refuses %s partitions', (partitions) => {
    expect(() => partitionKeys('tiles', 'result', partitions)).toThrow(
      `a queue has 1 to ${MAX_PARTITIONS} partitions: got ${partitions}`,
    );
  });

  test('refuses names with a hash tag', () => {
    expect(() => partitionKeys('{eu}tiles', 'result', 2)).toThrow('"{eu}tiles" has a hash tag');
    expect(() => partitionKeys('tiles', '{eu}result', 2)).toThrow('"{eu}result" has a hash tag');
  });

  test.each(['a{b', 'a{', '{}a', 'a{}'])('refuses %s: its number would not be the hash tag', (name) => {
    expect(calculateSlot(`${name}:{0}`)).not.toBe(calculateSlot('0'));
    expect(() => partitionKeys(name, 'result', 2)).toThrow(`"${name}" has a "{"`);
    expect(() => partitionKeys('tiles', name, 2)).toThrow(`"${name}" has a "{"`);
  });

  test('a closing brace alone does no harm', () => {
    const [first] = partitionKeys('a}b', 'c}', 2);
    expect(first && [first.queue, first.result, first.delayed].map((key) => calculateSlot(key))).toEqual(
      Array.from({ length: 3 }, () => calculateSlot('0')),
    );
  });
});

describe('several numbers of partitions', () => {
  test('are the lists of all of them, each once', () => {
    const lists = (numbers: readonly number[]): string[] =>
      partitionedKeys('tiles', 'result', numbers).map(({ queue }) => queue);
    expect(lists([1, 2])).toEqual(['tiles', 'tiles:{0}', 'tiles:{1}']);
    expect(lists([2, 3])).toEqual(['tiles:{0}', 'tiles:{1}', 'tiles:{2}']);
    expect(() => lists([])).toThrow('no number was given');
  });

  test('are read from text', () => {
    expect(parsePartitions('16')).toEqual([16]);
    expect(parsePartitions('1, 16')).toEqual([1, 16]);
    for (const text of ['', '0', '-1', '1.5', '1e2', '16,', '257', 'many'])
      expect(() => parsePartitions(text)).toThrow(`got "${text}"`);
  });
});

describe('partitionOf', () => {
  // computed by Python: `zlib.crc32(id.encode()) % 16`
  test('is the CRC-32 of the id modulo the number of partitions', () => {
    expect(['7', 'tile-1', 'größe'].map((id) => partitionOf(id, 16))).toEqual([2, 13, 9]);
    expect(partitionOf(Buffer.from('größe'), 16)).toBe(partitionOf('größe', 16));
  });

  test('spreads numbered ids evenly', () => {
    const places = Array.from({ length: 16_000 }, (_, i) => partitionOf(String(i), 16));
    const sizes = Array.from(Map.groupBy(places, (place) => place).values(), ({ length }) => length);
    expect(sizes).toHaveLength(16);
    expect(Math.min(...sizes)).toBeGreaterThan(800);
    expect(Math.max(...sizes)).toBeLessThan(1_200);
  });
});
