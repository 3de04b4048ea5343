import { expect, test } from 'vitest';

import { createWakeup } from '../../worker/epoch/wakeup.ts';

const LONG_MS = 60_000;

test('a ring wakes the sleeper', async () => {
  const wakeup = createWakeup();
  const sleeping = wakeup.wait(LONG_MS);
  wakeup.wake();
  await sleeping;
});

test('a wakeup while nothing sleeps is not lost, and counts once', async () => {
  const wakeup = createWakeup();
  wakeup.wake();
  wakeup.wake();
  await wakeup.wait(LONG_MS);
  const began = performance.now();
  await wakeup.wait(30);
  expect(performance.now() - began).toBeGreaterThanOrEqual(29);
});

test.each([Infinity, 2 ** 31])('a sleep of %d ms does not end immediately', async (ms) => {
  const wakeup = createWakeup();
  let over = false;
  const sleeping = wakeup.wait(ms).then(() => (over = true));
  await new Promise((resolve) => void setTimeout(resolve, 20));
  expect(over).toBe(false);
  wakeup.wake();
  await sleeping;
});
