/** What every kind of handler must do alike: a command, a command that keeps running, functions in Python, a server. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenHandler } from '../../worker/task/handler.ts';
import { openCommand } from '../../worker/handlers/command.ts';
import { openHttp } from '../../worker/handlers/http.ts';
import { openLines } from '../../worker/handlers/lines.ts';
import { failure, FIXTURES, handlerSuite, run } from '../fixtures/handler-suite.ts';
import { openTasks } from '../fixtures/python-suite.ts';
import { startTaskServer, type TaskServer } from '../fixtures/task-server.ts';

const suite = handlerSuite();
let server: TaskServer;
beforeEach(async () => {
  server = await startTaskServer();
});
afterEach(() => server[Symbol.asyncDispose]());

/** The verbs of the other two fixtures, for a program that is started per task. */
const script = `
  task=$(cat); rest=\${task#* }
  case $task in
    "fail "*) echo "$rest" >&2; exit 1;;
    "final "*) echo "$rest" >&2; exit 65;;
    "later "*) echo "$rest"; echo busy >&2; exit 75;;
    "long "*) head -c "$rest" /dev/zero;;
    hang) echo hanging >&2; sleep 600;;
    *) printf %s "$task";;
  esac`;

const kinds: [name: string, open: (maxOutputBytes?: number) => Promise<OpenHandler>][] = [
  ['a command', async (max) => openCommand({ command: ['sh', '-c', script], ...common(max) })],
  [
    'lines',
    async (max) => openLines({ command: 'python3 lines.py', concurrency: 20, closeMs: 50, ...common(max) }),
  ],
  [
    'Python',
    async (max) =>
      openTasks(suite, {
        concurrency: 3,
        closeMs: 50,
        politeMs: 50,
        ...(max === undefined ? {} : { maxOutputBytes: max }),
      }),
  ],
  [
    'a server',
    async (max) =>
      openHttp({
        url: server.url,
        ...(max === undefined ? {} : { maxOutputBytes: max }),
        log: (line) => suite.book.log(line, { pid: 0 }),
        stopping: new AbortController().signal,
      }),
  ],
];

function common(max: number | undefined): Omit<Parameters<typeof openCommand>[0], 'command'> {
  const { marked, book } = suite;
  return {
    cwd: FIXTURES,
    env: marked.env,
    log: book.log,
    ...(max === undefined ? {} : { maxOutputBytes: max }),
  };
}

describe.each(kinds)('%s', (name, openOne) => {
  const open = async (max?: number): Promise<OpenHandler> => suite.own(await openOne(max));
  /** Resolves when the task `hang` is running. */
  const hanging = (): Promise<void> =>
    name === 'a server' ? expect.poll(() => server.received.length).toBe(1) : suite.book.wait('hanging');

  test('returns the responses of many concurrent tasks', async () => {
    const handler = await open();
    const tasks = ['', 'a', 'ä\n"b"', ...Array.from({ length: 12 }, (_, i) => `task ${i}`)];
    const results = await Promise.all(tasks.map((task) => run(handler, task)));
    expect(results.map(String)).toEqual(tasks);
  });

  test('a failed attempt has its reason, and nothing about the next one', async () => {
    const error = await failure(run(await open(), 'fail no such tile'));
    expect(error.message).toContain('no such tile');
    expect(error).not.toHaveProperty('retry');
    expect(error).not.toHaveProperty('retryAfter');
  });

  test('a failure may be final', async () => {
    const error = await failure(run(await open(), 'final no such tile'));
    expect(error.message).toContain('no such tile');
    expect(Object.hasOwn(error, 'retry') && Reflect.get(error, 'retry')).toBe(false);
  });

  test('a failure may set when to retry', async () => {
    const when = { 'a command': '30s', lines: '"30s"', Python: '30', 'a server': '30' }[name];
    const error = await failure(run(await open(), `later ${when}`));
    expect(error.message).toContain('busy');
    expect(Reflect.get(error, 'retryAfter')).toBe(30_000);
  });

  test('a result that is too large is final, and others continue', async () => {
    const handler = await open(20_000);
    const error = await failure(run(handler, 'long 200000'));
    expect(error.message).toMatch(/^the result is too large/);
    expect(error).toHaveProperty('retry', false);
    expect(String(await run(handler, 'next'))).toBe('next');
  });

  test('an aborted attempt ends immediately, with the reason and without a result', async () => {
    const controller = new AbortController();
    const attempt = failure(run(await open(), 'hang', { signal: controller.signal }));
    await hanging();
    controller.abort(new Error('the lease was lost'));
    expect((await attempt).message).toBe('stopped: the lease was lost');
  });

  test('an attempt that is aborted before it begins starts nothing', async () => {
    const signal = AbortSignal.abort(new Error('too late'));
    const error = await failure(run(await open(), 'hang', { signal }));
    expect(error.message).toBe('stopped: too late');
    expect(suite.book.lines).toEqual([]);
    expect(server.received).toEqual([]);
  });

  test('closing ends what runs, and refuses what comes', async () => {
    const handler = await open();
    const attempt = failure(run(handler, 'hang'));
    await hanging();
    await handler[Symbol.asyncDispose]();
    await attempt;
    expect((await failure(run(handler, 'late'))).message).toMatch('the handler is closed');
  });
});
