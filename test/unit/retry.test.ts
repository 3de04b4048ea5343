import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { describeError } from '../../runtime/describe-error.ts';
import { nextAttempt, type RetryPolicy } from '../../queue/outcomes/retry.ts';

const policy: RetryPolicy = { attempts: 5, backoff: { initialMs: 1000, maxMs: 300_000, jitter: true } };
const steady: RetryPolicy = { ...policy, attempts: 100, backoff: { ...policy.backoff, jitter: false } };
const error = new Error('no route to host');

describe('nextAttempt', () => {
  test.each([
    [1, 1000],
    [2, 2000],
    [3, 4000],
    [9, 256_000],
    [10, 300_000],
    [99, 300_000],
  ])('after attempt %d it waits %d ms', (attempt, delayMs) => {
    expect(nextAttempt({ attempt, error, policy: steady, random: 0 })).toEqual({ kind: 'retry', delayMs });
  });

  test.each([
    [1, 0, 500],
    [1, 0.5, 750],
    [4, 0, 4000],
    [4, 0.999_999_999, 8000],
  ])('attempt %d with random %d waits %d ms', (attempt, random, delayMs) => {
    expect(nextAttempt({ attempt, error, policy, random })).toEqual({ kind: 'retry', delayMs });
  });

  test('the last attempt is final, and the reason contains the error', () => {
    expect(nextAttempt({ attempt: 5, error, policy, random: 0 })).toEqual({
      kind: 'dead',
      reason: 'failed 5 of 5 attempts: no route to host',
    });
  });

  test('retry: false is final at the first attempt', () => {
    const final = Object.assign(new Error('no such tile'), { retry: false });
    expect(nextAttempt({ attempt: 1, error: final, policy, random: 0 })).toEqual({
      kind: 'dead',
      reason: 'not to be retried: no such tile',
    });
  });

  test.each([
    ['inherited', Object.create({ retry: false })],
    ['true', { retry: true }],
    ['a falsy value', { retry: 0 }],
    ['a string that was thrown', 'retry: false'],
    ['null', null],
    ['undefined', undefined],
  ])('retry as %s is tried again', (_name, thrown: unknown) => {
    expect(nextAttempt({ attempt: 1, error: thrown, policy, random: 0 }).kind).toBe('retry');
  });

  test.each([
    [30_000, 30_000],
    [0, 0],
    [-5, 0],
    [0.2, 1],
    [1e16, 9_223_372_036_854],
    [1.79e18, 9_223_372_036_854],
    [Number.MAX_VALUE, 9_223_372_036_854],
  ])('retryAfter: %d waits %d ms, without backoff or jitter', (retryAfter, delayMs) => {
    const later = Object.assign(new Error('busy'), { retryAfter });
    expect(nextAttempt({ attempt: 1, error: later, policy, random: 0.9 })).toEqual({
      kind: 'retry',
      delayMs,
    });
  });

  test('retryAfter counts as an attempt, and retry: false is stronger', () => {
    const later = Object.assign(new Error('busy'), { retryAfter: 10 });
    expect(nextAttempt({ attempt: 5, error: later, policy, random: 0 })).toEqual({
      kind: 'dead',
      reason: 'failed 5 of 5 attempts: busy',
    });
    const final = Object.assign(later, { retry: false });
    expect(nextAttempt({ attempt: 1, error: final, policy, random: 0 }).kind).toBe('dead');
  });

  test.each(['30s', Number.NaN, Infinity, null])(
    'retryAfter: %j is no time, and the backoff holds',
    (odd) => {
      const later = Object.assign(new Error('busy'), { retryAfter: odd });
      expect(nextAttempt({ attempt: 1, error: later, policy: steady, random: 0 })).toEqual({
        kind: 'retry',
        delayMs: 1000,
      });
    },
  );

  test('an error that throws when read is retried', () => {
    expect(nextAttempt({ attempt: 1, error: revoked(), policy, random: 0 }).kind).toBe('retry');
  });

  test('every delay lies between the half and the whole of the backoff, and never above max', () => {
    const any = fc.record({
      attempt: fc.integer({ min: 1, max: 5000 }),
      initialMs: fc.integer({ min: 0, max: 1e6 }),
      maxMs: fc.integer({ min: 0, max: 1e9 }),
      random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    });
    fc.assert(
      fc.property(any, ({ attempt, initialMs, maxMs, random }) => {
        const next = nextAttempt({
          attempt,
          error,
          random,
          policy: { attempts: 10_000, backoff: { initialMs, maxMs, jitter: true } },
        });
        const full = initialMs === 0 ? 0 : Math.min(maxMs, initialMs * 2 ** (attempt - 1));
        expect(next.kind).toBe('retry');
        if (next.kind !== 'retry') return;
        expect(Number.isInteger(next.delayMs)).toBe(true);
        expect(next.delayMs).toBeGreaterThanOrEqual(Math.floor(full / 2));
        expect(next.delayMs).toBeLessThanOrEqual(Math.ceil(full));
      }),
    );
  });
});

describe('describeError', () => {
  const circle: { code: number; self?: object } = { code: 7 };
  circle.self = circle;

  test.each<[unknown, string]>([
    [new Error('plain'), 'plain'],
    [new TypeError('x is not a function'), 'TypeError: x is not a function'],
    [new Error('two\nlines\r\n\tand a tab'), 'two lines and a tab'],
    [new Error(''), 'Error'],
    [new Error('outer', { cause: new RangeError('inner') }), 'outer; caused by RangeError: inner'],
    [new Error('cannot read: EACCES', { cause: new Error('EACCES') }), 'cannot read: EACCES'],
    [new AggregateError([new Error('a'), new Error('b')], 'both'), 'AggregateError: both; a; b'],
    ['a string', 'a string'],
    ['', 'an error without a message'],
    [undefined, 'undefined undefined was thrown'],
    [null, 'object null was thrown'],
    [404, 'number 404 was thrown'],
    [Symbol('s'), 'symbol Symbol(s) was thrown'],
    [{ code: 7 }, 'an object was thrown: {"code":7}'],
    [{ size: 1n }, 'an object was thrown: { size: 1n }'],
    [circle, 'an object was thrown: <ref *1> { code: 7, self: [Circular *1] }'],
    [{ message: 'like an error' }, 'like an error'],
    ['bell \u0007 and escape \u001b[31m', 'bell and escape [31m'],
  ])('%# %s', (thrown, line) => {
    expect(describeError(thrown)).toBe(line);
  });

  test('an error that throws when read is described as such', () => {
    expect(describeError(revoked())).toBe('an unreadable error (its properties throw)');
  });

  test.each([
    ['a cause', Object.defineProperty(new Error('kept'), 'cause', { get: fail })],
    ['what a cause is', Object.defineProperty(new Error('kept'), 'cause', { value: revoked() })],
  ])('%s that throws when looked at leaves the message', (_what, thrown) => {
    expect(describeError(thrown)).toMatch(/^kept/);
  });

  test('causes that go round in a circle end', () => {
    const round = new Error('round');
    round.cause = round;
    expect(describeError(round)).toBe('round');
  });

  test('a long message keeps its start and its end', () => {
    const line = describeError(new Error(`start ${'x'.repeat(5000)} end`));
    expect(line).toMatch(/^start x+ … x+ end$/);
    expect(Buffer.byteLength(line)).toBe(2048);
  });

  test('any thrown value gives one line of at most 2 KB of whole characters', () => {
    const text = fc.string({ unit: 'binary', maxLength: 3000, size: 'max' });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.anything(),
          text,
          text.map((message) => new Error(message)),
        ),
        (thrown) => {
          const line = describeError(thrown);
          expect(line).not.toBe('');
          expect(line).not.toMatch(/[\n\r\p{Cc}]/u);
          expect(Buffer.byteLength(line)).toBeLessThanOrEqual(2048);
          expect(Buffer.from(line).toString()).toBe(line);
        },
      ),
    );
  });
});

function fail(): never {
  throw new Error('not to be looked at');
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}
