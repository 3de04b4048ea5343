import { expect, test } from 'vitest';
import { retryAfter } from '../../worker/task/retry-after.ts';

function thrownBy(call: () => never): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

test.each([
  [1_500, 1_500],
  ['1m30s', 90_000],
  [-7, 0],
  [new Date(0), 0],
])('%j is %d ms from now', (when, ms) => {
  expect(thrownBy(() => retryAfter(when))).toMatchObject({
    name: 'RetryAfter',
    message: 'retry requested',
    retryAfter: ms,
  });
});

test('a Date is so far from now', () => {
  const error = thrownBy(() => retryAfter(new Date(Date.now() + 60_000)));
  const { retryAfter: ms } = error as { retryAfter: number };
  expect(ms).toBeGreaterThan(59_000);
  expect(ms).toBeLessThanOrEqual(60_000);
});

test('the reason is a text, or an error as the cause', () => {
  expect(thrownBy(() => retryAfter(1, 'quota used up'))).toMatchObject({ message: 'quota used up' });
  const cause = new Error('429');
  expect(thrownBy(() => retryAfter(1, cause))).toMatchObject({ cause });
});

test.each([Number.NaN, Infinity, new Date('never'), 'soon'])('%s is refused', (when) => {
  expect(() => retryAfter(when)).toThrow(RangeError);
});
