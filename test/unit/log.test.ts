/** Errors in the log: complete at `debug`, one short line otherwise, and never a secret. */
import { describe, expect, test } from 'vitest';
import type { LoggedError } from '../../runtime/log-error.ts';
import { createLog, isoTime } from '../../runtime/log.ts';
import type { LogLevel } from '../../runtime/log-level.ts';

/** The line that is written for `error`, as text and as what it is. */
function logged(error: unknown, level: LogLevel): { readonly line: string; readonly err: LoggedError } {
  const lines: string[] = [];
  const log = createLog('test', level, { write: (line: string) => void lines.push(line) });
  log.warn({ err: error }, 'it failed');
  const [line = ''] = lines;
  return { line, err: (JSON.parse(line) as { err: LoggedError }).err };
}

function thrownHere(): Error {
  return new TypeError('the tile is gone', { cause: new RangeError('no such row') });
}

test('at debug an error has its stack, and so have its causes', () => {
  const { err } = logged(thrownHere(), 'debug');
  expect(err).toMatchObject({ type: 'TypeError', message: 'the tile is gone' });
  expect(err.stack).toMatch(/^at thrownHere .*log\.test\.ts:\d+:\d+/);
  expect(err.cause).toMatchObject({ type: 'RangeError', message: 'no such row' });
  expect(err.cause?.stack).toMatch(/^at thrownHere /);
});

test.each(['info', 'warn'] as const)('at %s it has type, message and causes, and no stack', (level) => {
  const { line, err } = logged(thrownHere(), level);
  const cause = { type: 'RangeError', message: 'no such row' };
  expect(err).toEqual({ type: 'TypeError', message: 'the tile is gone', cause });
  expect(line).not.toContain('log.test.ts');
  expect(line.trimEnd().length).toBeLessThan(250);
});

describe.each(['debug', 'info'] as const)('at %s', (level) => {
  const SECRET = 'hunter2-secret';
  const quoting = `ERR unknown command 'AUTH', with args beginning with: 'app' '${SECRET}' `;
  const manyLines = `ERR no, with args beginning with: 'x\n    at ${SECRET} (/a.ts:1:1)'`;
  test.each([
    ['what a server quotes of a command', new Error(quoting)],
    ['the same with lines like those of a stack', new Error(manyLines)],
    ['the same in a cause', new Error('refused', { cause: new Error(quoting) })],
    ['the command that a client hangs on its error', Object.assign(new Error('no'), { command: [SECRET] })],
    ['the URL that Node hangs on its error', Object.assign(new Error('no'), { input: SECRET })],
    ['a message that was changed since', Object.assign(new Error(quoting), { message: 'cleaned' })],
  ])('no secret comes out: %s', (_, error) => {
    expect(logged(error, level).line).not.toContain(SECRET);
  });

  test.each<[string, unknown, Partial<LoggedError>]>([
    ['a text', 'oh no', { type: 'string', message: 'oh no' }],
    ['lines and colours', new Error('a\n\u001b[31mb'), { message: 'a [31mb' }],
    ['a code alone', Object.assign(new Error(''), { code: 'ECONNREFUSED' }), { message: 'ECONNREFUSED' }],
    [
      'several addresses that refuse',
      new AggregateError([new Error('connect ECONNREFUSED ::1:1'), new Error('b')]),
      { type: 'AggregateError', message: 'connect ECONNREFUSED ::1:1' },
    ],
    ['a very long message', new Error('x'.repeat(5_000)), { message: `${'x'.repeat(999)}…` }],
    [
      'what throws when looked at',
      Object.defineProperty(new Error('x'), 'message', {
        get: () => {
          throw new Error('do not look');
        },
      }),
      { type: 'Error' },
    ],
  ])('whatever is thrown can be logged: %s', (_, error, expected) => {
    expect(logged(error, level).err).toMatchObject(expected);
  });
});

test('causes in a circle end', () => {
  const error = new Error('round');
  error.cause = error;
  expect(logged(error, 'debug').line.split('"message":"round"')).toHaveLength(6);
});

test.each([0, 951_782_400_000, 1_732_838_399_999, 1_735_689_599_000, 253_402_300_799_999])(
  'the time of a line, %i, is written as Date does',
  (at) => {
    expect(isoTime(new Date(at))).toBe(new Date(at).toISOString());
  },
);
