/** Batches and cron tasks on a pool's page: in words, and as a bar. */
import { describe, expect, test } from 'vitest';
import type { BatchRow } from '../../controller/dashboard/api.ts';
import { barOf, describeBatch, isOver, paceOf, stateOf } from '../../dashboard/batch-text.ts';
import { ahead, minute } from '../../dashboard/format.ts';

const NOW = 1_000_000;
const batch = (more: Partial<BatchRow> = {}): BatchRow => ({
  ref: 'r',
  queue: 'q',
  id: 'b',
  state: 'running',
  size: 100,
  succeeded: 0,
  failed: 0,
  cancelled: 0,
  left: 100,
  dead: 0,
  inner: 0,
  rate: null,
  createdAt: 0,
  activeAt: NOW - 1_000,
  endedAt: null,
  why: null,
  ...more,
});

test.each<[string, Partial<BatchRow>, string | undefined]>([
  ['it is well', {}, undefined],
  ['nothing ends', { activeAt: NOW - 120_000 }, 'No part has ended for 2 min.'],
  ['it is added to', { state: 'adding' }, 'Its client is still adding parts.'],
  [
    'its client is gone',
    { state: 'adding', activeAt: NOW - 600_000 },
    'Its client has added nothing for 10 min: if it is gone, cancel the batch.',
  ],
  ['a letter', { dead: 1 }, 'It ends when 1 dead letter is requeued and succeeds, or dropped.'],
  ['letters', { dead: 3 }, 'It ends when 3 dead letters are requeued and succeed, or dropped.'],
  ['a batch inside', { inner: 2 }, 'It waits for 2 batches inside of it.'],
  ['it fails', { state: 'failing', why: 'part b:1: no' }, 'part b:1: no'],
  [
    'it failed, and the reason may not be shown',
    { state: 'failed' },
    'A part failed, and the rest is cancelled.',
  ],
  ['it is being cancelled', { state: 'cancelling' }, 'The parts that run are being aborted.'],
  ['it was cancelled', { state: 'cancelled', activeAt: 0 }, undefined],
  ['it ended long ago', { state: 'ended', activeAt: 0 }, undefined],
])('why it does not end: %s', (_, of, words) => expect(describeBatch(batch(of), NOW)).toBe(words));

test.each<[string, Partial<BatchRow>, string | undefined]>([
  ['no part ended lately', {}, undefined],
  ['a pace', { rate: 4 }, '4.0/s, about 25 s left'],
  ['less than a second', { rate: 1_000 }, '1,000/s, about 1 s left'],
  ['more parts come', { rate: 4, state: 'adding' }, '4.0/s'],
  ['a slow one', { rate: 0.01 }, '0.60/min, about 2.8 h left'],
  ['what is left does not depend on it', { rate: 4, left: 3, dead: 2, inner: 1 }, undefined],
  ['it is over', { rate: 4, state: 'ended', left: 0 }, undefined],
])('the time left: %s', (_, of, words) => expect(paceOf(batch(of))).toBe(words));

test('states, and which of them end', () => {
  expect(stateOf(batch({ dead: 2 }))).toEqual({ text: 'waits for dead letters', tone: 'warn' });
  expect(stateOf(batch({ state: 'ended', failed: 1 })).text).toBe('ended, with failures');
  expect(stateOf(batch({ state: 'of a later version' }))).toEqual({
    text: 'of a later version',
    tone: 'calm',
  });
  expect(['ended', 'failed', 'cancelled'].every((state) => isOver({ state }))).toBe(true);
  expect(['adding', 'running', 'failing', 'cancelling'].some((state) => isOver({ state }))).toBe(false);
});

describe('the bar', () => {
  test('has a piece for each way in which parts end, one after the other', () =>
    expect(barOf(batch({ succeeded: 50, failed: 10, cancelled: 20 }))).toEqual({
      ended: 800,
      pieces: [
        { of: 'succeeded', from: 0, width: 500 },
        { of: 'failed', from: 500, width: 100 },
        { of: 'cancelled', from: 600, width: 200 },
      ],
    }));
  test('shows one failed part of a million, and never more than all', () => {
    const { pieces } = barOf(batch({ size: 1_000_000, succeeded: 999_999, failed: 1 }));
    const last = pieces.at(-1);
    expect(last?.width).toBeGreaterThan(0);
    expect((last?.from ?? 0) + (last?.width ?? 0)).toBeLessThanOrEqual(1_000);
  });
  test.each([batch({ size: 0 }), batch({ size: 1, succeeded: 5 })])('of numbers that cannot be', (of) =>
    expect(barOf(of).pieces.every(({ from, width }) => from + width <= 1_000)).toBe(true),
  );
});

test.each([
  [ahead(NOW, NOW), 'now'],
  [ahead(NOW + 11_200, NOW), 'in 12 s'],
  [ahead(NOW + 600_000, NOW), 'in 10 min'],
  [minute(new Date(2026, 10, 29, 3, 0).getTime(), new Date(2026, 10, 29, 9).getTime()), '03:00'],
  [minute(new Date(2026, 10, 30, 3, 0).getTime(), new Date(2026, 10, 29, 9).getTime()), '30 Nov, 03:00'],
])('%s', (words, expected) => expect(words).toBe(expected));
