import { expect, test } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';

const LONG_MS = 60_000;

test('a sleep lasts, and ends when the signal aborts', async () => {
  const began = performance.now();
  const abort = new AbortController();
  await systemClock.sleep(30, abort.signal);
  expect(performance.now() - began).toBeGreaterThanOrEqual(29);
  const long = systemClock.sleep(LONG_MS, abort.signal);
  abort.abort();
  await long;
  await systemClock.sleep(LONG_MS, abort.signal);
});
