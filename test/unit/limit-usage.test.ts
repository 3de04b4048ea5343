/** How full each limit of a queue is, and what waits for it. */
import { expect, test } from 'vitest';
import type { LimitsView } from '../../queue/limits/limits.ts';
import { usageOf } from '../../queue/limits/usage.ts';

const view = (parts: Partial<LimitsView>): LimitsView => ({
  limits: {},
  by: 'pool shop/mail',
  at: 1,
  now: 2,
  waiting: 0,
  running: 0,
  mayBegin: undefined,
  held: 0,
  heldKeys: 0,
  nextAt: undefined,
  keys: [],
  ...parts,
});

test('a rate is full by what may not begin of its burst, and holds back what is more than that', () => {
  const limits = { rate: '100/s' };
  const text = '100/s (burst 100)';
  expect(usageOf(view({ limits, mayBegin: 3, waiting: 10 }))).toEqual([
    { kind: 'rate', text, used: 97, most: 100, held: 7 },
  ]);
  expect(usageOf(view({ limits, mayBegin: 3, waiting: 2 }))).toMatchObject([{ used: 97, held: 0 }]);
  // a change of the limits may leave more than there can be
  expect(usageOf(view({ limits, mayBegin: 500 }))).toMatchObject([{ used: 0, held: 0 }]);
  expect(usageOf(view({ limits: { rate: '1/h', burst: 5 }, mayBegin: 5 }))).toMatchObject([
    { text: '1/h (burst 5)', used: 0, most: 5 },
  ]);
});

test('at once: tasks in flight, also more of them than there may be now', () => {
  const limits = { concurrency: 20 };
  expect(usageOf(view({ limits, running: 18, waiting: 5 }))).toEqual([
    { kind: 'concurrency', text: '20 at once', used: 18, most: 20, held: 3 },
  ]);
  expect(usageOf(view({ limits, running: 25, waiting: 5 }))).toMatchObject([{ used: 25, most: 20, held: 5 }]);
});

test('each limit is one, that of the keys last, with what is beside the list', () => {
  const limits = {
    rate: '5/m',
    concurrency: 2,
    perKey: { field: 'customer', rate: '5/s', concurrency: 1 },
  };
  const all = usageOf(view({ limits, mayBegin: 1, waiting: 4, running: 1, held: 5_021, heldKeys: 2 }));
  expect(all.map(({ kind, held }) => [kind, held])).toEqual([
    ['rate', 3],
    ['concurrency', 3],
    ['perKey', 5_021],
  ]);
  expect(all[2]).toMatchObject({
    text: 'for each customer 5/s and 1 at once',
    used: 2,
    most: undefined,
  });
});
