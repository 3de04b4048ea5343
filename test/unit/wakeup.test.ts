import { expect, test } from 'vitest';

import { createBell } from '../../worker/epoch/wakeup.ts';

const LONG_MS = 60_000;

test('a ring wakes the sleeper', async () => {
  const bell = createBell();
  const sleeping = bell.rung(LONG_MS);
  bell.ring();
  await sleeping;
});

test('a ring while nobody sleeps is not lost, and counts once', async () => {
  const bell = createBell();
  bell.ring();
  bell.ring();
  await bell.rung(LONG_MS);
  const began = performance.now();
  await bell.rung(30);
  expect(performance.now() - began).toBeGreaterThanOrEqual(29);
});

test.each([Infinity, 2 ** 31])('a sleep of %d ms does not end at once', async (ms) => {
  const bell = createBell();
  let over = false;
  const sleeping = bell.rung(ms).then(() => (over = true));
  await new Promise((resolve) => void setTimeout(resolve, 20));
  expect(over).toBe(false);
  bell.ring();
  await sleeping;
});
