import { execFileSync } from 'node:child_process';

import { describe, expect, test } from 'vitest';

import { ResultEncodingError } from '../../worker/task/encode.ts';
import type { OpenHandler } from '../../worker/task/handler.ts';
import { openCommand, type CommandOptions } from '../../worker/handlers/command.ts';
import { CommandError, HandlerLoadError } from '../../worker/handlers/errors.ts';
import { failure, FIXTURES, handlerSuite, run } from '../fixtures/handler-suite.ts';
import { watchers } from '../fixtures/processes.ts';

const suite = handlerSuite();

async function open(command: string | string[], rest: Partial<CommandOptions> = {}): Promise<OpenHandler> {
  const { marked, book } = suite;
  return suite.own(await openCommand({ command, cwd: FIXTURES, env: marked.env, log: book.log, ...rest }));
}

const sh = (script: string): string[] => ['sh', '-c', script];

describe('a task', () => {
  test('is the stdin of the program, and stdout is the result, byte for byte', async () => {
    const bytes = Buffer.from([0, 255, 10, 13, 128, 0]);
    expect(await run(await open('./reverse.mjs'), bytes)).toEqual(Buffer.from(bytes.toReversed()));
    expect(await run(await open('cat'), '')).toEqual(Buffer.alloc(0));
  });

  test('may be large, both ways', async () => {
    const bytes = Buffer.alloc(10 * 1024 * 1024, 'millrace');
    const result = await run(await open('cat'), bytes);
    expect(Buffer.isBuffer(result) && result.equals(bytes)).toBe(true);
  });

  test('is named in the environment', async () => {
    const result = await run(await open('./introduce.sh'), 'x', { id: 'tile 7', attempt: 3, queue: 'tiles' });
    expect(String(result)).toBe('tiles tile 7 3 x');
  });

  test('brings its trace in the environment, and none is inherited', async () => {
    const env = { ...suite.marked.env, TRACEPARENT: 'of the worker', TRACESTATE: 'of the worker' };
    const handler = await open(sh('echo "${TRACEPARENT-unset} ${TRACESTATE-unset}"'), { env });
    expect(String(await run(handler, '', { trace: { traceparent: '00-1', tracestate: 'a=b' } }))).toBe(
      '00-1 a=b\n',
    );
    expect(String(await run(handler, '', { trace: { traceparent: '00-1' } }))).toBe('00-1 unset\n');
    expect(String(await run(handler, ''))).toBe('unset unset\n');
  });

  test.each<[string, string | Buffer]>([
    ['an id of bytes that are no text', Buffer.from([0xff])],
    ['an id with a NUL', 'a\0b'],
    ['a long id', 'x'.repeat(4097)],
  ])('%s is left out of the environment, and none is inherited', async (_name, id) => {
    const env = { ...suite.marked.env, MILLRACE_TASK_ID: 'of the worker' };
    const handler = await open(sh('echo "${MILLRACE_TASK_ID-unset} $MILLRACE_ATTEMPT"'), { env });
    expect(String(await run(handler, '', { id }))).toBe('unset 1\n');
  });

  test('need not be read', async () => {
    const bytes = Buffer.alloc(1024 * 1024);
    expect(String(await run(await open('echo done'), bytes))).toBe('done\n');
    expect(String(await run(await open(sh('exec <&-; echo closed')), bytes))).toBe('closed\n');
  });

  test('runs beside others', async () => {
    const handler = await open('cat');
    const texts = Array.from({ length: 20 }, (_, index) => `task ${index}`);
    const results = await Promise.all(texts.map((text) => run(handler, text)));
    expect(results.map(String)).toEqual(texts);
  });
});

describe('a failure', () => {
  test.each([
    ['echo "no such tile" >&2; exit 3', 'exit code 3: no such tile'],
    ['echo half; exit 1', 'exit code 1, nothing on stderr'],
    ['kill -SEGV $$', 'killed by SIGSEGV, nothing on stderr'],
    ['echo dying >&2; kill -KILL $$', 'killed by SIGKILL: dying'],
  ])('%s', async (script, message) => {
    const error = await failure(run(await open(sh(script))));
    expect(error).toBeInstanceOf(CommandError);
    expect(error.message).toBe(message);
    expect(error).not.toHaveProperty('retry');
  });

  test('with exit code 65 is final', async () => {
    const error = await failure(run(await open(sh('echo "no such tile" >&2; exit 65'))));
    expect(error).toMatchObject({ message: 'exit code 65: no such tile', retry: false });
  });

  test.each([
    ['echo 30s', 30_000],
    ['printf 1m30s', 90_000],
    ['true', undefined],
    ['echo half a result', undefined],
    ['seq 1 1000', undefined],
  ])('with exit code 75 is tried again, after what stdout says: %s', async (script, retryAfter) => {
    const error = await failure(run(await open(sh(`${script}; exit 75`))));
    expect(error).toBeInstanceOf(CommandError);
    expect(error.message).toBe('exit code 75, nothing on stderr');
    expect(Reflect.get(error, 'retryAfter')).toBe(retryAfter);
    expect(error).not.toHaveProperty('retry');
  });

  test('with another exit code sets no time, whatever is on stdout', async () => {
    const error = await failure(run(await open(sh('echo 30s; exit 1'))));
    expect(error).not.toHaveProperty('retryAfter');
  });

  test('holds the last 2 KB of stderr', async () => {
    const error = await failure(run(await open(sh('seq 1 100000 >&2; exit 1'))));
    expect(error.message).toMatch(/^exit code 1: [\d\n]+\n99999\n100000$/);
    expect(error.message.length).toBeGreaterThan(2000);
    expect(error.message.length).toBeLessThan(2100);
  });

  test('too much output is final, and the program is stopped', async () => {
    const error = await failure(run(await open('yes', { maxOutputBytes: 100_000 })));
    expect(error).toBeInstanceOf(ResultEncodingError);
    expect(error).toHaveProperty('retry', false);
    expect(error.message).toMatch(
      /^the result is too large: the program wrote more than 100000 bytes to stdout/,
    );
  });

  test('as much output as allowed is none', async () => {
    const handler = await open('cat', { maxOutputBytes: 4 });
    expect(String(await run(handler, '1234'))).toBe('1234');
    await expect(run(handler, '12345')).rejects.toThrow('too large');
  });

  test('a program that cannot be started any more fails the attempt', async () => {
    const handler = await open(['cat', 'x'.repeat(200_000)]); // One argument may have 128 KiB on Linux.
    const error = await failure(run(handler));
    expect(error.message).toMatch(/^cannot start cat: .*E2BIG/);
    expect(error.cause).toBeInstanceOf(Error);
  });

  test('a working directory that is gone fails the attempt', async () => {
    const error = await failure(run(await open('cat', { cwd: '/no/such/directory' })));
    expect(error.message).toMatch(/^cannot start cat: .*ENOENT/);
  });

  test('a program that is not there is refused when opening', async () => {
    await expect(open('./no-such-program')).rejects.toThrow(HandlerLoadError);
    expect(watchers()).toEqual([]);
  });
});

test('stderr goes to the log, line by line, with the task', async () => {
  const handler = await open(
    sh('echo one >&2; printf "two\\r\\nthree" >&2; head -c 20000 /dev/zero | tr "\\0" x >&2'),
  );
  await run(handler, '', { id: 'a', attempt: 2 });
  expect(suite.book.lines).toEqual(['one', 'two', `three${'x'.repeat(16 * 1024 - 5)}…`]);
  expect(suite.book.sources[0]).toEqual({ pid: expect.any(Number), id: 'a', attempt: 2 });
});

test('the fixture programs are executable in a fresh checkout', () => {
  expect(execFileSync(`${FIXTURES}reverse.mjs`, { input: 'abc' }).toString()).toBe('cba');
});
