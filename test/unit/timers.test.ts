import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { interval, sleep, timeout } from '../../runtime/timers.ts';

/** What a timer of Node does not hold. */
const TOO_LONG = [2 ** 31, 2_592_000_000, 1e300, Infinity];

const turnsOfTheLoop = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, 20));

test.each(TOO_LONG)('a timer of %d ms does not fire immediately', async (ms) => {
  const fired: string[] = [];
  const set = [
    timeout(ms, () => fired.push('timeout')),
    timeout(ms, () => fired.push('unreferenced')).unref(),
    interval(ms, () => fired.push('interval')),
  ];
  const abort = new AbortController();
  const slept = sleep(ms, abort.signal).then(() => fired.push('sleep'));
  await turnsOfTheLoop();
  expect(fired).toEqual([]);
  abort.abort();
  await slept;
  expect(fired).toEqual(['sleep']);
  for (const timer of set) timer.clear();
});

test('a time that is slept in pieces lasts as long as in one', async () => {
  const began = performance.now();
  await new Promise<void>((resolve) => void timeout(35, resolve, 10));
  expect(performance.now() - began).toBeGreaterThanOrEqual(33);
});

test('a timer that is cleared between two pieces is gone, and keeps no process alive', async () => {
  const program = `import { sleep, timeout } from './runtime/timers.ts';
    const timer = timeout(60_000, () => process.exit(1), 5);
    await sleep(20);
    timer.clear();`;
  await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
    cwd: join(import.meta.dirname, '../..'),
  });
});

test.each([0, -5, -Infinity])('%d ms is now', async (ms) => {
  await sleep(ms);
});

test('a time that is no number is an error, not 1 ms', async () => {
  expect(() => timeout(Number.NaN, () => undefined)).toThrow(RangeError);
  expect(() => interval(Number.NaN, () => undefined)).toThrow(RangeError);
  await expect(sleep(Number.NaN)).rejects.toThrow(RangeError);
});
