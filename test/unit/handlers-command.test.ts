import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { ResultEncodingError } from '../../worker/encode.ts';
import { openCommand, type CommandOptions } from '../../worker/handlers/command.ts';
import { CommandError, HandlerLoadError } from '../../worker/handlers/errors.ts';
import type { OpenHandler, TaskContext } from '../../worker/handler.ts';
import { contextOf, logbook, mark, watchers, type Marked } from '../fixtures/processes.ts';

const FIXTURES = new URL('../fixtures/', import.meta.url).pathname;

let marked: Marked;
let book: ReturnType<typeof logbook>;
let opened: OpenHandler[];

beforeEach(() => {
  marked = mark();
  book = logbook();
  opened = [];
});

afterEach(async () => {
  await Promise.all(opened.map((handler) => handler[Symbol.asyncDispose]()));
  await marked.gone();
  expect(watchers()).toEqual([]);
});

async function open(command: string | string[], rest: Partial<CommandOptions> = {}): Promise<OpenHandler> {
  const { env } = marked;
  const handler = await openCommand({ command, cwd: FIXTURES, env, log: book.log, ...rest });
  opened.push(handler);
  return handler;
}

const sh = (script: string): string[] => ['sh', '-c', script];

async function run(
  handler: OpenHandler,
  raw: string | Buffer = '',
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

describe('a task', () => {
  test('is the stdin of the program, and stdout is the result, byte for byte', async () => {
    const bytes = Buffer.from([0, 255, 10, 13, 128, 0]);
    expect(await run(await open('./reverse.py'), bytes)).toEqual(Buffer.from(bytes.toReversed()));
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

  test.each([
    ['an id with a NUL', 'a\0b'],
    ['a long id', 'x'.repeat(4097)],
  ])('%s is left out of the environment, and none is inherited', async (_name, id) => {
    const env = { ...marked.env, MILLRACE_TASK_ID: 'of the worker' };
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
  expect(book.lines).toEqual(['one', 'two', `three${'x'.repeat(16 * 1024 - 5)}…`]);
  expect(book.sources[0]).toEqual({ pid: expect.any(Number), id: 'a', attempt: 2 });
});

describe('abort', () => {
  test('ends the program and what it started, with SIGTERM', async () => {
    const controller = new AbortController();
    const handler = await open(sh('sleep 600 & sleep 600 & echo ready >&2; wait'));
    const attempt = failure(run(handler, '', { signal: controller.signal }));
    await book.wait('ready');
    await expect.poll(marked.living).toHaveLength(3);
    controller.abort(new Error('the lease was lost'));
    expect((await attempt).message).toBe('stopped: the lease was lost');
    await marked.gone();
  });

  test('kills what ignores SIGTERM after the grace', async () => {
    const controller = new AbortController();
    const handler = await open(
      sh('trap "echo asked >&2" TERM; echo ready >&2; while :; do sleep 0.01; done'),
      {
        graceMs: 100,
      },
    );
    const attempt = failure(run(handler, '', { signal: controller.signal }));
    await book.wait('ready');
    const started = performance.now();
    controller.abort();
    expect((await attempt).message).toMatch(/^stopped: AbortError/);
    expect(performance.now() - started).toBeGreaterThan(95);
    expect(book.lines).toContain('asked');
  });

  test('gives no result, even if the program exits in good order', async () => {
    const controller = new AbortController();
    const handler = await open(
      sh('trap "echo half; exit 0" TERM; echo ready >&2; while :; do sleep 0.01; done'),
    );
    const attempt = failure(run(handler, '', { signal: controller.signal }));
    await book.wait('ready');
    controller.abort();
    expect((await attempt).message).toMatch(/^stopped/);
  });

  test('before the start starts nothing', async () => {
    const handler = await open(sh('echo started >&2'));
    const error = await failure(run(handler, '', { signal: AbortSignal.abort(new Error('too late')) }));
    expect(error.message).toBe('stopped: too late');
    expect(book.lines).toEqual([]);
  });

  test('in the tick of the start ends it', async () => {
    const controller = new AbortController();
    const attempt = failure(run(await open('sleep 600'), '', { signal: controller.signal }));
    controller.abort();
    expect((await attempt).message).toMatch(/^stopped/);
  });

  test('after the end changes nothing', async () => {
    const controller = new AbortController();
    expect(await run(await open('cat'), 'x', { signal: controller.signal })).toEqual(Buffer.from('x'));
    controller.abort();
  });
});

describe('nothing is left', () => {
  test('of what the program leaves running, even if it holds stdout open', async () => {
    const handler = await open(sh('sleep 600 & echo done'));
    expect(String(await run(handler))).toBe('done\n');
    await marked.gone();
  });

  test('of what the program leaves running without its pipes', async () => {
    const handler = await open(sh('sleep 600 >/dev/null 2>&1 </dev/null & echo done'));
    expect(String(await run(handler))).toBe('done\n');
    await marked.gone(1000); // Killed, but perhaps not yet reaped by init.
  });

  test('and whoever leaves the group with the pipes does not hold the slot', async () => {
    const handler = await open(sh('setsid sleep 600 & echo done'));
    expect(String(await run(handler))).toBe('done\n');
    for (const pid of marked.living()) process.kill(pid, 'SIGKILL'); // Out of the handler's reach, as documented.
    await marked.gone(1000);
  });

  test('when the handler is closed', async () => {
    const handler = await open(sh('sleep 600 & echo ready >&2; wait'));
    const attempt = failure(run(handler));
    await book.wait('ready');
    await handler[Symbol.asyncDispose]();
    await marked.gone();
    expect((await attempt).message).toBe('stopped: CommandError: the handler is closed');
    expect((await failure(run(handler))).message).toMatch('the handler is closed');
  });

  test('when the handler is closed and a program ignores SIGTERM', async () => {
    const handler = await open(sh('trap "" TERM; echo ready >&2; while :; do sleep 0.01; done'), {
      graceMs: 100,
    });
    const attempt = failure(run(handler));
    await book.wait('ready');
    await handler[Symbol.asyncDispose]();
    await marked.gone();
    expect((await attempt).message).toMatch('the handler is closed');
  });

  test('when the handler is closed in the tick of the start', async () => {
    const handler = await open('sleep 600');
    const attempt = failure(run(handler));
    await handler[Symbol.asyncDispose]();
    await marked.gone();
    expect((await attempt).message).toMatch('the handler is closed');
  });

  test('when the worker is killed, neither of programs nor of what they started', async () => {
    const worker = spawn(process.execPath, [`${FIXTURES}doomed.ts`], {
      env: marked.env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let ready = 0;
    for await (const chunk of worker.stdout) {
      ready += String(chunk).split('ready').length - 1;
      if (ready === 2) break;
    }
    await expect.poll(marked.living).toHaveLength(5); // The worker, and for each handler a shell and its child.
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    await marked.gone(5000);
  }, 15_000);
});

test('the fixture programs are executable in a fresh checkout', () => {
  expect(execFileSync(`${FIXTURES}reverse.py`, { input: 'abc' }).toString()).toBe('cba');
});
