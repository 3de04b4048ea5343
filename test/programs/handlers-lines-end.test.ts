/** How a kept-running program fails, is aborted and is closed. */

import { describe, expect, test } from 'vitest';

import { ResultEncodingError } from '../../worker/task/encode.ts';
import { CommandError } from '../../worker/handlers/errors.ts';
import { failure, run } from '../fixtures/handler-suite.ts';
import { linesSuite, pidOf } from '../fixtures/lines-suite.ts';

const { suite, waits, open } = linesSuite();

describe('a failure', () => {
  test.each([
    ['exit 3', 'exit code 3 before it answered: out of cheese'],
    ['exit 0', 'exit code 0 before it answered: out of cheese'],
    ['die', 'killed by SIGSEGV before it answered, nothing on stderr'],
    ['close', 'python3 closed its stdout'],
    [
      'raw hello',
      'python3 wrote a line that is no answer, it is not JSON: "hello" (answers go to stdout, everything else to stderr)',
    ],
    ['raw [1]', /no answer, it is not a JSON object: "\[1\]"/],
    ['raw {"value": 1}', /no answer, it has neither "result" nor "error"/],
    ['raw {"error": "a", "retryAfter": "soon"}', /no answer, its "retryAfter" is neither ms nor a duration/],
    ['raw {"error": "a", "retryAfter": -1}', /no answer, its "retryAfter" is neither ms nor a duration/],
    ['raw {"result": "a", "encoding": "hex"}', /no answer, its "encoding" is "hex", not "base64"/],
    ['raw {"result": "a!", "encoding": "base64"}', /no answer, its "result" is not base64/],
    [`raw ${'x'.repeat(1000)}`, /no answer, it is not JSON: "x{200}…"/],
  ])('%s', async (task, message) => {
    const handler = await open();
    const pid = await pidOf(handler);
    const error = await failure(run(handler, task));
    expect(error).toBeInstanceOf(CommandError);
    if (typeof message === 'string') expect(error.message).toBe(message);
    else expect(error.message).toMatch(message);
    await suite.marked.gone();
    expect(await pidOf(handler)).not.toBe(pid);
    expect(waits).toEqual([]);
  });

  test('an answer too many never reaches another task', async () => {
    const handler = await open();
    expect(await run(handler, 'twice')).toBe(1);
    await suite.book.wait('CommandError: python3 wrote to stdout without a task: "{\\"result\\": 2}"');
    expect(await run(handler, 'next')).toBe('next');
  });

  test('an answer too many that comes a moment later does not, either', async () => {
    const handler = await open({ quietMs: 60_000 });
    expect(await run(handler, 'late 0.003')).toBe(1);
    expect(await run(handler, 'slow next')).toBe('next');
    await suite.book.wait(
      'CommandError: python3 wrote to stdout without a task: "{\\"result\\": \\"late\\"}"',
    );
  });

  test.each(['as "7"', 'as 7', 'as 12345678901234567890', 'as {"id":"id"}'])(
    'an answer for another task ends the program: %s',
    async (task) => {
      const handler = await open();
      expect((await failure(run(handler, task))).message).toMatch(
        /no answer, its "id" is (that of another task|neither)/,
      );
      expect(await run(handler, 'next')).toBe('next');
    },
  );

  test('an answer that is too long is final', async () => {
    const handler = await open({ maxOutputBytes: 100_000 });
    const error = await failure(run(handler, 'long 200000'));
    expect(error).toBeInstanceOf(ResultEncodingError);
    expect(error.message).toMatch('the program wrote a line of more than 100000 bytes');
    expect(await run(handler, 'next')).toBe('next');
  });

  test('programs that end immediately are restarted with growing delays, until one answers', async () => {
    const script =
      'while read -r line; do case $line in *exit*) exit 1 ;; esac; echo "{\\"result\\":1}"; done';
    const handler = await open({ command: ['sh', '-c', script] });
    for (let round = 0; round < 10; round += 1) await failure(run(handler, 'exit'));
    expect(waits).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    await run(handler, 'fine');
    await failure(run(handler, 'exit'));
    await run(handler, 'fine');
    expect(waits).toHaveLength(10);
  });

  test('a task that waits for a start can be aborted', async () => {
    const controller = new AbortController();
    const handler = await open({
      wait: (_ms, signal) => {
        const { promise, reject } = Promise.withResolvers<never>();
        signal.addEventListener('abort', () => reject(signal.reason));
        controller.abort(new Error('not wanted'));
        return promise;
      },
    });
    await failure(run(handler, 'exit 1'));
    const error = await failure(run(handler, 'next', { signal: controller.signal }));
    expect(error.message).toBe('stopped: not wanted');
  });
});

describe('abort', () => {
  test('ends the process, and the next task gets another', async () => {
    const controller = new AbortController();
    const handler = await open();
    const attempt = failure(run(handler, 'hang', { signal: controller.signal }));
    await suite.book.wait('hanging');
    controller.abort(new Error('the lease was lost'));
    expect((await attempt).message).toBe('stopped: the lease was lost');
    await suite.marked.gone();
    expect(await run(handler, 'next')).toBe('next');
    expect(waits).toEqual([]);
  });

  test('kills one that ignores SIGTERM after the grace', async () => {
    const controller = new AbortController();
    const handler = await open({ graceMs: 50 });
    const attempt = failure(run(handler, 'deaf', { signal: controller.signal }));
    await suite.book.wait('deaf');
    controller.abort();
    expect((await attempt).message).toMatch(/^stopped/);
    await suite.marked.gone();
  });

  test('before the start starts nothing', async () => {
    const handler = await open();
    const error = await failure(run(handler, 'x', { signal: AbortSignal.abort(new Error('too late')) }));
    expect(error.message).toBe('stopped: too late');
    expect(suite.marked.living()).toEqual([]);
  });
});

describe('closing', () => {
  test('lets idle ones read the end of their stdin', async () => {
    const script = 'while read -r line; do echo "{\\"result\\":1}"; done; echo "left in good order" >&2';
    const handler = await open({ command: ['sh', '-c', script] });
    await run(handler, 'x');
    await handler[Symbol.asyncDispose]();
    expect(suite.book.lines).toEqual(['left in good order']);
  });

  test('lets a running task answer', async () => {
    const handler = await open();
    const attempt = run(handler, 'say hello');
    await suite.book.wait('hello');
    await handler[Symbol.asyncDispose]();
    expect(await attempt).toBe('hello');
  });

  test('ends and then kills what does not leave', async () => {
    const handler = await open({ closeMs: 20, graceMs: 50 });
    const attempt = failure(run(handler, 'deaf'));
    await suite.book.wait('deaf');
    await handler[Symbol.asyncDispose]();
    await suite.marked.gone();
    expect((await attempt).message).toBe('killed by SIGKILL before it answered: deaf');
  });

  test('in the tick of a start leaves nothing, and refuses what comes later', async () => {
    const handler = await open();
    const attempts = [failure(run(handler, 'hang')), failure(run(handler, 'waits'))];
    await handler[Symbol.asyncDispose]();
    await suite.marked.gone();
    for (const error of await Promise.all(attempts)) expect(error.message).toMatch('the handler is closed');
    expect((await failure(run(handler, 'late'))).message).toMatch('the handler is closed');
  });
});
