/** Limits as people write them: what they mean, what is refused and in which words; and what samples make of them. */
import { describe, expect, test } from 'vitest';
import * as fc from 'fast-check';
import {
  areSameLimits,
  checkLimits,
  describeLimits,
  describeRate,
  limitFields,
  limitsOfFields,
  parseRate,
  type QueueLimits,
} from '../../queue/limits/definition.ts';
import type { LimitsSurvey } from '../../queue/limits/limits.ts';
import { combineSamples } from '../../queue/pool/pool-sample.ts';
import { noCounters, type QueueSample } from '../../queue/pool/sample.ts';
import { changed } from '../../cli/access/limit-flags.ts';

const toMap = (list: readonly string[]): Map<string, string> =>
  new Map(Array.from({ length: list.length / 2 }, (_, i) => [list[2 * i] ?? '', list[2 * i + 1] ?? '']));

describe('a definition', () => {
  test.each<[QueueLimits, string]>([
    [{ rate: '100/s' }, '100/s'],
    [{ rate: '5/m', burst: 3 }, '5/m (burst 3)'],
    [{ rate: '10/30s', concurrency: 2 }, '10/30s, 2 at once'],
    [{ rate: '1000/d' }, '1000/d'],
    [{ perKey: { field: 'customer', rate: '5/s', concurrency: 1 } }, 'for each customer 5/s and 1 at once'],
    [
      { rate: '20/h', concurrency: 20, perKey: { field: 'customer', concurrency: 1 } },
      '20/h, 20 at once, for each customer 1 at once',
    ],
  ])('%o is the same after Redis, and is described as "%s"', (limits, text) => {
    const read = limitsOfFields(toMap(limitFields(checkLimits(limits))));
    expect(read && areSameLimits(read, limits)).toBe(true);
    expect(read && describeLimits(read)).toBe(text);
  });

  test('any rate that may be written is read again as it is described', () => {
    const counts = fc.oneof(fc.integer({ min: 1, max: 99_999 }), fc.constantFrom(1, 2, 7, 24, 36, 60, 2_000));
    const units = fc.constantFrom('s', 'm', 'h', 'd');
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), counts, units, (tasks, count, unit) => {
        const rate = parseRate(`${tasks}/${count}${unit}`, 'rate');
        expect(parseRate(describeRate(rate), 'rate')).toEqual(rate);
      }),
    );
    expect(['1/2d', '10/36h', '5/2000m', '48/1h'].map((text) => describeRate(parseRate(text, '')))).toEqual([
      '1/2d',
      '10/36h',
      '5/2000m',
      '48/h',
    ]);
  });

  test('a burst is one second of the rate by default, at least 1', () => {
    expect(toMap(limitFields({ rate: '100/s' })).get('burst')).toBe('100');
    expect(toMap(limitFields({ rate: '90/m' })).get('burst')).toBe('1');
    expect(toMap(limitFields({ rate: '5/h' })).get('burst')).toBe('1');
  });

  test.each<[unknown, RegExp]>([
    [{}, /limits nothing: set rate, concurrency or perKey/],
    [null, /limits is null: write an object/],
    [[], /write an object/],
    [{ rate: '0/s' }, /limits\.rate is "0\/s": write a whole number of tasks, at least 1/],
    [{ rate: '-5/s' }, /limits\.rate/],
    [{ rate: 'NaN/s' }, /limits\.rate/],
    [{ rate: '5/fortnight' }, /such as 100\/s, 5\/m or 20\/h/],
    [{ rate: '0.5/s' }, /whole number/],
    [{ rate: '5' }, /limits\.rate/],
    [{ rate: 5 }, /limits\.rate is 5/],
    [{ rate: '9999999999/s' }, /no limit/],
    [{ concurrency: 0 }, /limits\.concurrency is 0: .*to stop a queue, pause it/],
    [{ concurrency: -1 }, /limits\.concurrency is -1/],
    [{ concurrency: Number.NaN }, /limits\.concurrency is NaN/],
    [{ concurrency: 1.5 }, /whole number/],
    [{ concurrency: '2' }, /limits\.concurrency is "2"/],
    [{ burst: 3, concurrency: 1 }, /burst is of no use without limits\.rate/],
    [{ rate: '5/s', burst: 0 }, /limits\.burst is 0/],
    [{ perKey: {} }, /limits\.perKey\.field is missing: name the field/],
    [{ perKey: { field: '', rate: '5/s' } }, /limits\.perKey\.field/],
    [{ perKey: { field: 'a"b', rate: '5/s' } }, /without quotes/],
    [{ perKey: { field: 'customer' } }, /limits\.perKey limits nothing/],
    [{ perKey: { field: 'customer', rate: '5' } }, /limits\.perKey\.rate/],
    [{ perKey: { field: 'customer', running: 1 } }, /limits\.perKey\.running is no limit/],
    [{ rates: '5/s' }, /limits\.rates is no limit: there are rate, burst, concurrency, perKey/],
  ])('%o is refused', (limits, words) => {
    expect(() => checkLimits(limits)).toThrow(words);
  });

  test('what is no number of ours in Redis limits nothing', () => {
    expect(
      limitsOfFields(
        new Map([
          ['rate', 'x'],
          ['rateMs', '1000'],
          ['concurrency', '-2'],
        ]),
      ),
    ).toBeUndefined();
    expect(limitsOfFields(new Map([['field', 'customer']]))).toBeUndefined();
  });
});

test('flags change some of the limits and leave the others', () => {
  const before: QueueLimits = { rate: '5/s', burst: 9, perKey: { field: 'customer', rate: '1/s' } };
  expect(changed(before, { maxRunning: 3 })).toEqual({ ...before, concurrency: 3 });
  expect(changed(before, { rate: '7/s' })).toEqual({ rate: '7/s', perKey: before.perKey });
  expect(changed(before, { rate: 'none' })).toEqual({ perKey: before.perKey });
  expect(changed(before, { keyRate: 'none' })).toEqual({ rate: '5/s', burst: 9 });
  expect(changed({}, { keyField: 'customer' })).toEqual({ perKey: { field: 'customer' } });
  expect(changed({ rate: '5/s' }, { rate: 'none' })).toEqual({});
});

describe('what workers may take', () => {
  const sample = (
    limits: Partial<LimitsSurvey> | undefined,
    parts: Partial<QueueSample> = {},
  ): QueueSample => ({
    now: 1_000_000,
    waiting: 0,
    suspects: 0,
    solitary: 0,
    apart: { workers: 0, tasks: 0 },
    inFlight: 0,
    busy: 0,
    delayed: 0,
    due: 0,
    dueSoon: 0,
    nextDue: undefined,
    dead: 0,
    paused: false,
    workers: 0,
    expired: 0,
    silent: false,
    nextExpiry: undefined,
    overdue: false,
    counters: noCounters,
    leaving: 0,
    slow: [],
    ...(limits && {
      limits: {
        limits: {},
        by: 'test',
        at: 0,
        held: 0,
        soon: undefined,
        ready: 0,
        nextAt: undefined,
        could: 0,
        ...limits,
      },
    }),
    ...parts,
  });
  const seconds = (each: number): QueueSample['counters'] => ({
    ...noCounters,
    completed: 10,
    serviceUs: each * 1e7,
  });

  test.each<[string, QueueSample, number, number]>([
    ['without limits, all', sample(undefined, { waiting: 50 }), 50, 0],
    [
      'as many as fit beside what runs',
      sample({ limits: { concurrency: 20 }, could: 50 }, { waiting: 50, inFlight: 15 }),
      5,
      45,
    ],
    [
      'none over a limit that was lowered',
      sample({ limits: { concurrency: 2 }, could: 50 }, { waiting: 50, inFlight: 15 }),
      0,
      50,
    ],
    [
      'none before the rate allows it',
      sample({ limits: { rate: '5/h' }, soon: 0, could: 9 }, { waiting: 9 }),
      0,
      9,
    ],
    [
      'what the rate allows until a replica is up',
      sample({ limits: { rate: '5/s' }, soon: 12, could: 90 }, { waiting: 90 }),
      12,
      78,
    ],
    [
      'no more than rate × service time keeps busy',
      sample(
        { limits: { rate: '10/s' }, soon: 40, could: 90 },
        { waiting: 90, inFlight: 3, counters: seconds(0.5) },
      ),
      2,
      88,
    ],
    [
      'at least one, however short the tasks are',
      sample({ limits: { rate: '1/m' }, soon: 1, could: 9 }, { waiting: 9, counters: seconds(0.001) }),
      1,
      8,
    ],
    [
      'one of each key that may go on, and what waits behind others does not count',
      sample(
        { limits: { perKey: { field: 'c', concurrency: 1 } }, held: 40, ready: 2, could: 3 },
        { waiting: 50 },
      ),
      5,
      45,
    ],
  ])('%s', (_, one, waiting, blocked) => {
    const all = combineSamples([one]);
    expect([all.runnable.waiting, all.blocked ?? 0]).toEqual([waiting, blocked]);
    expect(all.waiting).toBe(one.waiting);
  });

  test('the next time that limits allow one is when the pool is read again, if tasks wait for it', () => {
    const limits = { limits: { rate: '5/h' }, soon: 0, nextAt: 1_600_000 };
    expect(combineSamples([sample({ ...limits, could: 9 }, { waiting: 9 })]).nextDue).toBe(1_600_000);
    expect(combineSamples([sample(limits)]).nextDue).toBeUndefined();
    expect(
      combineSamples([sample({ ...limits, could: 9 }, { waiting: 9, nextDue: 1_500_000 })]).nextDue,
    ).toBe(1_500_000);
  });

  test('several queues: each has its own', () => {
    const limited = sample({ limits: { concurrency: 1 }, could: 5 }, { waiting: 5 });
    const all = combineSamples([limited, sample(undefined, { waiting: 7 })], ['a', 'b']);
    expect([all.runnable.waiting, all.blocked, all.limits]).toEqual([8, 4, '1 at once']);
  });
});
