import { describe, expect, test } from 'vitest';

import { encodeResult } from '../../worker/task/encode.ts';
import { CommandError } from '../../worker/handlers/errors.ts';
import { failure, run } from '../fixtures/handler-suite.ts';
import { linesSuite, pidOf } from '../fixtures/lines-suite.ts';

const { suite, waits, open } = linesSuite();

describe('the protocol', () => {
  test('gives the program id, task and attempt', async () => {
    const result = await run(await open(), 'message of mine', { id: 'tile 7', attempt: 3 });
    expect(result).toEqual({ id: 'tile 7', task: 'message of mine', attempt: 3 });
  });

  test('and its trace, where it has one', async () => {
    const trace = { traceparent: '00-1', tracestate: 'a=b' };
    const result = await run(await open(), 'message of mine', { trace });
    expect(result).toMatchObject({ attempt: 1, ...trace });
  });

  test.each<[string, string | Buffer, unknown]>([
    ['text', 'plain text', 'plain text'],
    ['empty text', '', ''],
    ['text with line ends', 'a\nb\r\n\u2028c\0d', 'a\nb\r\n\u2028c\0d'],
    ['a byte order mark', '\ufeffx', '\ufeffx'],
    ['bytes', Buffer.from([0, 255, 254]), Buffer.from([0, 255, 254])],
    ['other JSON', 'raw {"result": {"a": [1, null]}}', { a: [1, null] }],
    ['null', 'raw {"result": null}', null],
    ['an answer with spaces and CRLF', 'raw  {"result": 1} \r', 1],
  ])('%s', async (_name, raw, result) => {
    expect(await run(await open(), raw)).toEqual(result);
  });

  test('numbers of any size keep their digits', async () => {
    const json = '{"id":12345678901234567890,"x":[0.10000000000000000555,1e400]}';
    expect(encodeResult(await run(await open(), `raw {"result": ${json}}`))).toBe(json);
  });

  test('10 MB each way', async () => {
    const text = 'ä'.repeat(5 * 1024 * 1024);
    expect((await run(await open(), text)) === text).toBe(true);
  });

  test('works with a program in shell', async () => {
    const handler = await open({ command: './lines.sh' });
    expect([await run(handler, 'a'), await run(handler, 'b')]).toEqual(['1', '2']);
  });

  test('an error fails the attempt; retry: false makes it final', async () => {
    const handler = await open();
    const error = await failure(run(handler, 'fail no route to host'));
    expect(error).toBeInstanceOf(CommandError);
    expect(error.message).toBe('no route to host');
    expect(error).not.toHaveProperty('retry');
    const final = await failure(run(handler, 'final no such tile'));
    expect(final.message).toBe('no such tile');
    expect(Object.hasOwn(final, 'retry') && Reflect.get(final, 'retry')).toBe(false);
    expect(await run(handler, 'pid')).toMatchObject({ served: 3 });
  });

  test.each([
    ['250', 250],
    ['"1m30s"', 90_000],
    ['1e16', 9_223_372_036_854],
    ['10000000000000000', 9_223_372_036_854],
  ])('an error may say when to try again: %s', async (written, retryAfter) => {
    const error = await failure(run(await open(), `later ${written}`));
    expect(error).toMatchObject({ message: 'busy', retryAfter });
  });

  test("answers may name their task, whose late progress is then not taken for another's", async () => {
    const reports: unknown[] = [];
    const handler = await open();
    const progress = (value: unknown): void => void reports.push(value);
    expect(await run(handler, 'named-late a', { id: '1', progress })).toBe('a');
    expect(await run(handler, 'slow b', { id: '2', progress })).toBe('b');
    expect(await run(handler, 'as 12345678901234567890', { id: '12345678901234567890' })).toBe(
      'for another?',
    );
    expect(reports).toEqual([1]);
  });

  test('progress is reported as it comes, and is no answer', async () => {
    const reports: unknown[] = [];
    const handler = await open();
    const progress = (value: unknown): void => void reports.push(value);
    expect(await run(handler, 'progress 3', { progress })).toBe('done');
    expect(reports).toEqual([{ step: 0 }, { step: 1 }, { step: 2 }]);
    expect(await run(handler, 'pid')).toMatchObject({ served: 2 });
  });

  test('progress that cannot be reported ends the attempt, with the reason', async () => {
    const progress = (): never => {
      throw new RangeError('too much of it');
    };
    const error = await failure(run(await open(), 'progress 1', { progress }));
    expect(error.message).toMatch(/wrote a line that is no answer, too much of it/);
  });

  test('stderr goes to the log with the task', async () => {
    const controller = new AbortController();
    const attempt = failure(run(await open(), 'hang', { id: 'a', attempt: 2, signal: controller.signal }));
    await suite.book.wait('hanging');
    expect(suite.book.sources).toEqual([{ pid: suite.marked.living()[0], id: 'a', attempt: 2 }]);
    controller.abort();
    await attempt;
  });
});

describe('processes', () => {
  test('are started lazily, kept, and used again', async () => {
    const handler = await open({ concurrency: 4 });
    expect(suite.marked.living()).toEqual([]);
    const first = await pidOf(handler);
    expect(await run(handler, 'pid')).toEqual({ pid: first, served: 2 });
    expect(suite.marked.living()).toEqual([first]);
  });

  test('are at most as many as the concurrency', async () => {
    const handler = await open({ concurrency: 2 });
    const pids = new Set(await Promise.all(Array.from({ length: 12 }, () => pidOf(handler))));
    expect(pids.size).toBe(2);
    expect(new Set(suite.marked.living())).toEqual(pids);
  });

  test('tasks wait for one in the order in which they came', async () => {
    const handler = await open();
    const tasks = Array.from({ length: 6 }, () => run(handler, 'pid'));
    const served = (await Promise.all(tasks)).map((result) => Reflect.get(Object(result), 'served'));
    expect(served).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('a task that is aborted while it waits for one leaves the line', async () => {
    const handler = await open();
    const controller = new AbortController();
    const first = run(handler, 'say first');
    const second = failure(run(handler, 'say second', { signal: controller.signal }));
    const third = run(handler, 'say third');
    controller.abort(new Error('not wanted'));
    expect((await second).message).toBe('stopped: not wanted');
    expect([await first, await third]).toEqual(['first', 'third']);
    expect(suite.book.lines).not.toContain('second');
  });

  test('one that said it was its last task is replaced without loss or backoff', async () => {
    const handler = await open();
    const pids: unknown[] = [];
    for (let round = 0; round < 3; round += 1) pids.push(await run(handler, 'last'));
    expect(new Set(pids).size).toBe(3);
    expect(waits).toEqual([]);
  });

  test('one that ends while idle is replaced', async () => {
    const handler = await open();
    const pid = await pidOf(handler);
    process.kill(pid, 'SIGTERM');
    await suite.book.wait('python3 ended without a task: killed by SIGTERM');
    expect(await pidOf(handler)).not.toBe(pid);
    expect(waits).toEqual([]);
  });
});
