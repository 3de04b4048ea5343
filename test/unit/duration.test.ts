import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { formatDuration, parseDuration } from '../../runtime/duration.ts';

describe('parseDuration', () => {
  test.each([
    ['0', 0],
    ['0s', 0],
    ['1m30s', 90_000],
    ['250ms', 250],
    ['1.5h', 5_400_000],
    ['.5s', 500],
    ['1.s', 1000],
    ['1h1h', 7_200_000],
    ['1us', 0.001],
    ['1\u00b5s', 0.001],
    ['1\u03bcs', 0.001],
    ['1ns', 0.000_001],
    ['0.3ns', 0],
    ['4.35s', 4350],
    ['1.1s', 1100],
    ['0.1s0.2s', 300],
    ['9007199254ms1ns', 9_007_199_254.000_002], // The nearest double.
    ['2562047h47m16.854775807s', 9_223_372_036_854.775],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each([
    '',
    '1',
    '10 s',
    ' 1s',
    '1s ',
    '1S',
    '1d',
    's',
    '.s',
    '-1s',
    '+1s',
    '1e3s',
    '1s1',
    '1,5s',
    '1s\n',
    'NaNs',
  ])('%j is refused with what is accepted', (text) => {
    expect(() => parseDuration(text)).toThrow(
      new RangeError(
        `${JSON.stringify(text)} is not a duration: write numbers with a unit each (ns, us, ms, s, m, h), ` +
          'such as 250ms, 10s, 1m30s or 1.5h',
      ),
    );
  });

  test('more than Go can hold is refused', () => {
    expect(() => parseDuration('2562048h')).toThrow(/at most|the most is about 292 years/);
  });

  test('a long text is cut in the error, and read in linear time', () => {
    const before = process.cpuUsage();
    expect(() => parseDuration(`${'1s'.repeat(100_000)}x`)).toThrow(/^.{1,250}$/);
    // time of the processor, so that it is the same on a busy machine, µs
    expect(process.cpuUsage(before).user).toBeLessThan(2_000_000);
  });
});

describe('formatDuration', () => {
  test.each([
    [0, '0s'],
    [90_000, '1m30s'],
    [250, '250ms'],
    [1500, '1.5s'],
    [5_400_000, '1h30m'],
    [3_600_000, '1h'],
    [3_605_000, '1h5s'],
    [61_500, '1m1.5s'],
    [0.5, '500us'],
    [0.0015, '1.5us'],
    [0.000_001, '1ns'],
    [999.999_999_9, '1s'],
    [86_400_000, '24h'],
  ])('%d ms is %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  test.each([-1, NaN, Infinity, -Infinity, 1e16])('%d is refused', (ms) => {
    expect(() => formatDuration(ms)).toThrow(RangeError);
  });

  test('what it writes is read back as the same number', () => {
    const parts = fc.tuple(fc.integer({ min: 0, max: 10 ** 12 }), fc.integer({ min: 0, max: 999_999 }));
    fc.assert(
      fc.property(parts, ([whole, nanoseconds]) => {
        const ms = whole + nanoseconds / 1e6;
        expect(parseDuration(formatDuration(ms))).toBeCloseTo(ms, whole > 1e9 ? 3 : 6);
        expect(parseDuration(formatDuration(whole))).toBe(whole);
      }),
    );
  });

  test('formatting a parsed value gives one form, however it was written', () => {
    const term = fc.tuple(
      fc.integer({ min: 0, max: 9999 }),
      fc.constantFrom('ns', 'us', 'ms', 's', 'm', 'h'),
    );
    fc.assert(
      fc.property(fc.array(term, { minLength: 1, maxLength: 6 }), (terms) => {
        const text = terms.map(([number, unit]) => `${number}${unit}`).join('');
        const short = formatDuration(parseDuration(text));
        expect(formatDuration(parseDuration(short))).toBe(short);
        const reversed = terms.toReversed().map(([number, unit]) => `${number}${unit}`);
        expect(parseDuration(reversed.join(''))).toBe(parseDuration(text));
      }),
    );
  });

  test('the longest duration is read, and a longer one refused', () => {
    expect(parseDuration('2562047h')).toBe(2_562_047 * 3_600_000);
    expect(() => parseDuration('2562048h')).toThrow(/is too long for a duration/);
  });

  test('any other text is refused, never taken for something', () => {
    const valid = /^(0|((\d+(\.\d*)?|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h))+)$/;
    const text = fc.string({ unit: fc.constantFrom(...'0123459.smhnu\u00b5 -+e'.split('')), maxLength: 8 });
    fc.assert(
      fc.property(text, (one) => {
        if (!valid.test(one)) expect(() => parseDuration(one)).toThrow(RangeError);
        // eight characters are over the longest duration by hours alone
        else if (/^\d{7}h$/.test(one) && Number.parseInt(one, 10) > 2_562_047)
          expect(() => parseDuration(one)).toThrow(/is too long for a duration/);
        else expect(parseDuration(one)).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 2000 },
    );
  });
});
