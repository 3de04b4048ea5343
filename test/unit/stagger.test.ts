/** Periodic work is spread over its period, whenever it began. */
import { expect, test } from 'vitest';
import { nextAt } from '../../controller/sample/stagger.ts';

const EVERY = 30_000;
const ids = Array.from({ length: 10_000 }, (_, i) => `team-${i % 20}/pool-${i}`);

test.each([0, 12_345, 987_654_321])(
  'the first time comes after half to all of the period, from %d on',
  (now) => {
    for (const id of ids) {
      const wait = nextAt(id, now, EVERY) - now;
      expect(wait).toBeGreaterThanOrEqual(EVERY / 2);
      expect(wait).toBeLessThanOrEqual(EVERY);
    }
  },
);

test('from the second time on, exactly once per period', () => {
  for (const id of ids.slice(0, 100)) {
    const second = nextAt(id, nextAt(id, 77_000, EVERY), EVERY);
    const third = nextAt(id, second, EVERY);
    expect(third - second).toBeCloseTo(EVERY, 3);
  }
});

test('ten thousand that began in one instant are spread evenly', () => {
  const now = 5_000;
  const perSecond = Array.from({ length: 30 }, () => 0);
  for (const id of ids) {
    const settled = nextAt(id, nextAt(id, now, EVERY), EVERY);
    const second = Math.floor((settled % EVERY) / 1_000);
    perSecond[second] = (perSecond[second] ?? 0) + 1;
  }
  const even = ids.length / perSecond.length;
  for (const count of perSecond) expect(Math.abs(count - even)).toBeLessThan(even / 3);
});
