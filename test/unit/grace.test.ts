import { expect, test } from 'vitest';
import { waitOutGrace } from '../../worker/process/grace.ts';

/** A clock whose n-th sleep takes longer by `lateMs(n)`, and how long the wait took by it. */
async function waited(graceMs: number, lateMs: (sleeps: number) => number): Promise<number> {
  let now = 5_000;
  let sleeps = 0;
  await waitOutGrace(graceMs, {
    now: () => 0,
    elapsed: () => now,
    sleep: async (ms) => void (now += ms + lateMs(sleeps++)),
  });
  return now - 5_000;
}

test.each<[what: string, graceMs: number, lateMs: (sleeps: number) => number, waitedMs: number]>([
  ['timers are in time: all of it', 27_000, () => 0, 27_000],
  ['no whole number of checks', 1_250, () => 0, 1_250],
  ['late once, by half a second: two seconds less', 27_000, (n) => (n === 3 ? 500 : 0), 25_000],
  ['the latest counts', 27_000, (n) => (n === 3 ? 250 : n === 7 ? 500 : 0), 25_000],
  ['late by seconds: half of it', 7_000, (n) => (n === 0 ? 2_000 : 0), 3_500],
  ['stopped altogether, for longer than it had', 7_000, (n) => (n === 0 ? 9_000 : 0), 9_100],
  ['late at the end only', 1_000, (n) => (n === 9 ? 400 : 0), 1_400],
])('%s', async (_, graceMs, lateMs, waitedMs) => {
  expect(await waited(graceMs, lateMs)).toBe(waitedMs);
});
