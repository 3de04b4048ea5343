import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { encodeResult, ResultEncodingError } from '../../worker/encode.ts';
import { CommandError } from '../../worker/handlers/errors.ts';
import { openLines, type LinesOptions } from '../../worker/handlers/lines.ts';
import type { OpenHandler, TaskContext } from '../../worker/handler.ts';
import { contextOf, logbook, mark, watchers, type Marked } from '../fixtures/processes.ts';

const FIXTURES = new URL('../fixtures/', import.meta.url).pathname;

let marked: Marked;
let book: ReturnType<typeof logbook>;
let opened: OpenHandler[];
/** The backoff that was asked for, ms; nothing waits for it. */
let waits: number[];

beforeEach(() => {
  marked = mark();
  book = logbook();
  opened = [];
  waits = [];
});

afterEach(async () => {
  await Promise.all(opened.map((handler) => handler[Symbol.asyncDispose]()));
  await marked.gone();
  expect(watchers()).toEqual([]);
});

async function open(rest: Partial<LinesOptions> = {}): Promise<OpenHandler> {
  const handler = await openLines({
    command: 'python3 lines.py',
    cwd: FIXTURES,
    env: marked.env,
    log: book.log,
    concurrency: 1,
    wait: noteWait,
    ...rest,
  });
  opened.push(handler);
  return handler;
}

function noteWait(ms: number): Promise<void> {
  waits.push(ms);
  return Promise.resolve();
}

async function run(
  handler: OpenHandler,
  raw: string | Buffer,
  rest?: Partial<TaskContext>,
): Promise<unknown> {
  return await handler.handle(raw, contextOf(raw, rest));
}

async function failure(attempt: Promise<unknown>): Promise<Error> {
  const error = await attempt.then(
    () => 'it succeeded',
    (thrown: unknown) => thrown,
  );
  if (error instanceof Error) return error;
  throw new Error(`no error: ${String(error)}`);
}

async function pidOf(handler: OpenHandler): Promise<number> {
  return Reflect.get(Object(await run(handler, 'pid')), 'pid');
}

describe('the protocol', () => {
  test('gives the program id, task and attempt', async () => {
    const result = await run(await open(), 'message of mine', { id: 'tile 7', attempt: 3 });
    expect(result).toEqual({ id: 'tile 7', task: 'message of mine', attempt: 3 });
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

  test('numbers keep their digits, whatever their size', async () => {
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

  test('stderr goes to the log with the task', async () => {
    const controller = new AbortController();
    const attempt = failure(run(await open(), 'hang', { id: 'a', attempt: 2, signal: controller.signal }));
    await book.wait('hanging');
    expect(book.sources).toEqual([{ pid: marked.living()[0], id: 'a', attempt: 2 }]);
    controller.abort();
    await attempt;
  });
});

describe('processes', () => {
  test('are started lazily, kept, and used again', async () => {
    const handler = await open({ concurrency: 4 });
    expect(marked.living()).toEqual([]);
    const first = await pidOf(handler);
    expect(await run(handler, 'pid')).toEqual({ pid: first, served: 2 });
    expect(marked.living()).toEqual([first]);
  });

  test('are at most as many as the concurrency', async () => {
    const handler = await open({ concurrency: 2 });
    const pids = new Set(await Promise.all(Array.from({ length: 12 }, () => pidOf(handler))));
    expect(pids.size).toBe(2);
    expect(new Set(marked.living())).toEqual(pids);
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
    expect(book.lines).not.toContain('second');
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
    await book.wait('python3 ended without a task: killed by SIGTERM');
    expect(await pidOf(handler)).not.toBe(pid);
    expect(waits).toEqual([]);
  });
});

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
    await marked.gone();
    expect(await pidOf(handler)).not.toBe(pid);
    expect(waits).toEqual([]);
  });

  test('an answer too many never reaches another task', async () => {
    const handler = await open();
    expect(await run(handler, 'twice')).toBe(1);
    await book.wait('CommandError: python3 wrote to stdout without a task: "{\\"result\\": 2}"');
    expect(await run(handler, 'next')).toBe('next');
  });

  test('an answer that is too long is final', async () => {
    const handler = await open({ maxOutputBytes: 100_000 });
    const error = await failure(run(handler, 'long 200000'));
    expect(error).toBeInstanceOf(ResultEncodingError);
    expect(error.message).toMatch('the program wrote a line of more than 100000 bytes');
    expect(await run(handler, 'next')).toBe('next');
  });

  test('programs that end at once are started ever more slowly, until one answers', async () => {
    const handler = await open();
    for (let round = 0; round < 10; round += 1) await failure(run(handler, 'exit 1'));
    expect(waits).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    await run(handler, 'fine');
    await failure(run(handler, 'exit 1'));
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
    await book.wait('hanging');
    controller.abort(new Error('the lease was lost'));
    expect((await attempt).message).toBe('stopped: the lease was lost');
    await marked.gone();
    expect(await run(handler, 'next')).toBe('next');
    expect(waits).toEqual([]);
  });

  test('kills one that ignores SIGTERM after the grace', async () => {
    const controller = new AbortController();
    const handler = await open({ graceMs: 50 });
    const attempt = failure(run(handler, 'deaf', { signal: controller.signal }));
    await book.wait('deaf');
    controller.abort();
    expect((await attempt).message).toMatch(/^stopped/);
    await marked.gone();
  });

  test('before the start starts nothing', async () => {
    const handler = await open();
    const error = await failure(run(handler, 'x', { signal: AbortSignal.abort(new Error('too late')) }));
    expect(error.message).toBe('stopped: too late');
    expect(marked.living()).toEqual([]);
  });
});

describe('closing', () => {
  test('lets idle ones read the end of their stdin', async () => {
    const script = 'while read -r line; do echo "{\\"result\\":1}"; done; echo "left in good order" >&2';
    const handler = await open({ command: ['sh', '-c', script] });
    await run(handler, 'x');
    await handler[Symbol.asyncDispose]();
    expect(book.lines).toEqual(['left in good order']);
  });

  test('lets a running task answer', async () => {
    const handler = await open();
    const attempt = run(handler, 'say hello');
    await book.wait('hello');
    await handler[Symbol.asyncDispose]();
    expect(await attempt).toBe('hello');
  });

  test('ends and then kills what does not leave', async () => {
    const handler = await open({ closeMs: 20, graceMs: 50 });
    const attempt = failure(run(handler, 'deaf'));
    await book.wait('deaf');
    await handler[Symbol.asyncDispose]();
    await marked.gone();
    expect((await attempt).message).toBe('killed by SIGKILL before it answered: deaf');
  });

  test('in the tick of a start leaves nothing, and refuses what comes later', async () => {
    const handler = await open();
    const attempts = [failure(run(handler, 'hang')), failure(run(handler, 'waits'))];
    await handler[Symbol.asyncDispose]();
    await marked.gone();
    for (const error of await Promise.all(attempts)) expect(error.message).toMatch('the handler is closed');
    expect((await failure(run(handler, 'late'))).message).toMatch('the handler is closed');
  });
});
