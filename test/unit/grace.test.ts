import { expect, test } from 'vitest';
import { waitOutGrace } from '../../worker/process/grace.ts';

interface Sleep {
  /** How much longer than asked for it takes, ms. */
  readonly lateMs: number;
  /** Processor time that the process uses meanwhile, ms. */
  readonly computedMs?: number;
}

/** How long the wait takes by a clock whose sleeps are as given, by their numbers. */
async function waited(graceMs: number, sleeps: Record<number, Sleep>): Promise<number> {
  let now = 5_000;
  let computed = 40;
  let n = 0;
  const clock = {
    now: () => 0,
    elapsed: () => now,
    sleep: async (ms: number) => {
      const { lateMs, computedMs = 0 } = sleeps[n++] ?? { lateMs: 0 };
      now += ms + lateMs;
      computed += computedMs;
    },
  };
  await waitOutGrace(graceMs, clock, () => computed);
  return now - 5_000;
}

test.each<[what: string, graceMs: number, sleeps: Record<number, Sleep>, waitedMs: number]>([
  ['timers are in time: all of it', 27_000, {}, 27_000],
  ['no whole number of checks', 1_250, {}, 1_250],
  ['late once, by half a second: two seconds less', 27_000, { 3: { lateMs: 500 } }, 25_000],
  ['the latest counts', 27_000, { 3: { lateMs: 250 }, 7: { lateMs: 500 } }, 25_000],
  ['late by seconds: half of it', 7_000, { 0: { lateMs: 2_000 } }, 3_500],
  ['late by seconds, of a long one: ten seconds less', 600_000, { 0: { lateMs: 20_000 } }, 590_000],
  ['a handler computed meanwhile: all of it', 27_000, { 3: { lateMs: 8_000, computedMs: 8_050 } }, 27_000],
  ['stopped altogether, for longer than it had', 7_000, { 0: { lateMs: 9_000 } }, 9_100],
  ['late at the end only', 1_000, { 9: { lateMs: 400 } }, 1_400],
])('%s', async (_, graceMs, sleeps, waitedMs) => {
  expect(await waited(graceMs, sleeps)).toBe(waitedMs);
});
