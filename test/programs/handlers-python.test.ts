/** Functions in Python as handlers. What they do as all other kinds of handlers is in handlers-all.test.ts. */
import { describe, expect, test } from 'vitest';
import { encodeResult } from '../../worker/task/encode.ts';
import { TaskAbort } from '../../worker/task/abort.ts';
import { NotBegun } from '../../worker/task/not-begun.ts';
import { begin, failure, run } from '../fixtures/handler-suite.ts';
import { pythonSuite } from '../fixtures/python-suite.ts';

const { suite, open } = pythonSuite();

describe('a function', () => {
  test('is told of its task', async () => {
    const trace = { traceparent: '00-1', tracestate: 'a=b' };
    const about = { id: 'tile 7 ü', attempt: 3, queue: 'mail', trace };
    const found = String(await run(await open(), 'context', about));
    expect(JSON.parse(found)).toEqual({
      id: 'tile 7 ü',
      attempt: 3,
      queue: 'mail',
      ...trace,
      cancelled: false,
    });
  });

  test('gets and returns text, bytes and JSON', async () => {
    const handler = await open();
    const rows: [raw: string | Buffer, stored: string | Buffer][] = [
      ['plain ü', 'plain ü'],
      ['', ''],
      [Buffer.from([0, 255, 254]), Buffer.from([0, 255, 254])],
      ['{"a": [1, null]}', '{"a":[1,null]}'],
      [' [1.50, "ü"]', '[1.5,"ü"]'],
      ['{"a": ', '{"a": '],
      ['numbers', '{"nan":null,"big":12345678901234567890,"list":[1,2.5]}'],
      ['say a word', 'null'],
    ];
    for (const [raw, stored] of rows) {
      const found = encodeResult(await run(handler, raw, Buffer.isBuffer(raw) ? { id: raw } : {}));
      expect(Buffer.from(found)).toEqual(Buffer.from(stored));
    }
  });

  test('5 MB each way, and one after the other', async () => {
    const text = 'ä'.repeat(2.5 * 1024 * 1024);
    const handler = await open();
    for (let i = 0; i < 2; i++) expect(String(await run(handler, text)) === text).toBe(true);
  });

  test('what it prints is log, with its task, and never an answer', async () => {
    const handler = await open();
    await run(handler, 'say hello');
    for (const line of ['hello', 'hello in C, almost', 'hello in a program', 'unbuffered'])
      await suite.book.wait(line);
    expect(await run(handler, 'pid').then(String)).toContain('"served":2');
  });

  test('may fork: that process ends with its own status, and answers nothing', async () => {
    const handler = await open();
    expect(await Promise.all([run(handler, 'fork 3'), run(handler, 'after')])).toEqual([
      Buffer.from('3'),
      Buffer.from('after'),
    ]);
  });

  test('reports progress as it comes', async () => {
    const reports: unknown[] = [];
    const progress = (value: unknown): void => void reports.push(value);
    expect(String(await run(await open(), 'progress 3', { progress }))).toBe('done');
    expect(reports).toEqual([{ step: 0 }, { step: 1 }, { step: 2 }]);
    await run(await open(), 'time', { progress });
    expect(JSON.stringify(reports.at(-1))).toBe('{"ns":1790000000123456789}');
  });
});

describe('tasks that a function adds', () => {
  test('are handed to the worker with its result', async () => {
    const spawned: string[] = [];
    const spawn = (tasks: Iterable<unknown>): string[] => {
      for (const task of tasks) spawned.push(String(task));
      return [];
    };
    expect(String(await run(await open(), 'spawn tile', { id: 'a', spawn }))).toBe('["tile","a/1"]');
    expect(spawned).toEqual(['tile', '{"n":1,"id":"a/1"}']);
  });

  test('fail the attempt if the worker refuses them all the same', async () => {
    const handler = await open();
    const spawn = (): never => {
      throw new RangeError('too many');
    };
    expect((await failure(run(handler, 'spawn tile', { spawn }))).message).toBe('too many');
    expect(String(await run(handler, 'pid'))).toContain('"served":2');
  });
});

describe('failures', () => {
  test('an exception has its name, place and cause in the error, and its traceback in the log', async () => {
    const error = await failure(run(await open(), 'fail tile'));
    expect(error).toMatchObject({ name: 'RuntimeError' });
    expect(error.message).toMatch(
      /^tile \(python_tasks\.py, line \d+, in fail\); caused by KeyError: 'tile' \(python_tasks\.py, line \d+, in fail\)$/,
    );
    const traceback = suite.book.lines.find((line) => line.startsWith('Traceback'));
    expect(traceback).toMatch(/in fail\n[^]*KeyError: 'tile'\n[^]*RuntimeError: tile$/);
    expect(traceback).not.toContain('runner.py');
  });

  test('of other kinds cost no more than their task', async () => {
    const handler = await open();
    const rows: [task: string, message: RegExp, final: boolean][] = [
      ['strange', /^the result cannot be stored as JSON: object is not JSON/, true],
      ['too-much', /^a report of progress has 20002 bytes/, false],
      ['exit 3', /^3 \(python_tasks\.py/, false],
    ];
    for (const [task, message, final] of rows) {
      const error = await failure(run(handler, task));
      expect(error.message).toMatch(message);
      expect(Object.hasOwn(error, 'retry')).toBe(final);
    }
    expect(String(await run(handler, 'next'))).toBe('next');
  });

  test('a process that dies costs the attempt, and the next task gets another one', async () => {
    const handler = await open();
    const error = await failure(run(handler, 'die'));
    expect(error.message).toMatch(/^Python ended before the task did, killed by SIGSEGV: .*out of cheese/s);
    expect(error).not.toHaveProperty('retry');
    expect(String(await run(handler, 'pid'))).toContain('"served":1');
  });
});

describe('a task that is cancelled', () => {
  const cases: [task: string, started: string, after: string[], kept: boolean][] = [
    ['polite', 'working', ['tidying up'], true],
    ['nap', 'napping', ['woken'], true],
    ['stubborn', 'stubborn', [], false],
    ['deaf', 'deaf', [], false],
  ];
  test.each(cases)('%s', async (task, started, after, kept) => {
    // a function that does as it is asked has all the time that it needs
    const handler = await open(kept ? { politeMs: 60_000, graceMs: 60_000 } : { politeMs: 20, graceMs: 500 });
    const { pid } = JSON.parse(String(await run(handler, 'pid'))) as { pid: number };
    const controller = new AbortController();
    const attempt = failure(run(handler, task, { signal: controller.signal }));
    await suite.book.wait(started);
    controller.abort(new Error('not wanted'));
    expect((await attempt).message).toBe('stopped: not wanted');
    for (const line of after) await suite.book.wait(line);
    const next = JSON.parse(String(await run(handler, 'pid'))) as { pid: number };
    expect(next.pid === pid).toBe(kept);
  });
});

describe('processes', () => {
  test('one is started before the first task, and as many as the concurrency allows', async () => {
    const handler = await open({ concurrency: 2 });
    expect(suite.marked.living()).toHaveLength(1);
    const found = await Promise.all(Array.from({ length: 12 }, () => run(handler, 'pid')));
    const pids = new Set(found.map((one) => (JSON.parse(String(one)) as { pid: number }).pid));
    expect(new Set(suite.marked.living())).toEqual(pids);
    expect(pids.size).toBe(2);
  });

  test.each([
    ['after a number of tasks', { maxTasks: 2 }, 'pid', [1, 2, 1, 2]],
    ['once they have used too much memory', { maxMemoryBytes: 1 << 20 }, 'pid', [1, 1, 1, 1]],
  ])('are replaced %s', async (_when, limits, task, expected) => {
    const handler = await open(limits);
    const served: number[] = [];
    for (let i = 0; i < 4; i++)
      served.push((JSON.parse(String(await run(handler, task))) as { served: number }).served);
    expect(served).toEqual(expected);
  });
});

describe('fewer processes than tasks', () => {
  const shared = { concurrency: 3, processes: 1 };

  test('async functions run beside one another, and each is cancelled by itself', async () => {
    const handler = await open(shared);
    const controllers = [new AbortController(), new AbortController()];
    const naps = controllers.map(({ signal }) => failure(run(handler, 'nap', { signal })));
    await expect.poll(() => suite.book.lines.filter((line) => line === 'napping')).toHaveLength(2);
    expect(String(await run(handler, 'next'))).toBe('next');
    for (const [i, controller] of controllers.entries()) {
      controller.abort(new Error(`not wanted: ${i}`));
      expect((await naps[i])?.message).toBe(`stopped: not wanted: ${i}`);
    }
    expect(suite.marked.living()).toHaveLength(1);
  });

  test('others run in turn; one that is cancelled before its turn is not run', async () => {
    const handler = await open({ ...shared, concurrency: 4 });
    const [holding, waiting] = [new AbortController(), new AbortController()];
    const held = failure(run(handler, 'polite', { signal: holding.signal }));
    await suite.book.wait('working');
    const cancelled = failure(run(handler, 'say it', { signal: waiting.signal }));
    const others = ['pid', 'pid'].map((task) => run(handler, task));
    waiting.abort(new Error('not that'));
    holding.abort(new Error('enough'));
    expect((await held).message).toBe('stopped: enough');
    expect((await cancelled).message).toBe('stopped: not that');
    const served = (await Promise.all(others)).map(
      (one) => (JSON.parse(String(one)) as { served: number }).served,
    );
    expect(served).toEqual([2, 3]);
    expect(suite.book.lines).not.toContain('it');
  });

  test('a cancelled function that holds up the others is interrupted nevertheless', async () => {
    const handler = await open({ ...shared, politeMs: 20, graceMs: 200 });
    const controller = new AbortController();
    const stubborn = failure(run(handler, 'stubborn', { signal: controller.signal }));
    await suite.book.wait('stubborn');
    const other = failure(run(handler, 'pid'));
    controller.abort(new Error('not wanted'));
    expect((await stubborn).message).toBe('stopped: not wanted');
    expect(await other).toBeInstanceOf(NotBegun);
    expect(String(await run(handler, 'pid'))).toContain('"served":1');
  });

  test('a process that dies costs the tasks that it has begun an attempt', async () => {
    const handler = await open({ ...shared, concurrency: 4 });
    const nap = failure(run(handler, 'nap'));
    await suite.book.wait('napping');
    const [died, ...others] = ['die', 'pid', 'nap'].map((verb) => failure(run(handler, verb)));
    for (const attempt of [nap, died])
      expect((await attempt)?.message).toMatch(/^Python ended before the task did, killed by SIGSEGV/);
    for (const attempt of others) expect(await attempt).toBeInstanceOf(NotBegun);
    expect(String(await run(handler, 'pid'))).toContain('"served":1');
  });

  test('processes are filled evenly, and replaced when they are spent', async () => {
    const handler = await open({ concurrency: 8, processes: 2, maxTasks: 5 });
    const found = await Promise.all(Array.from({ length: 24 }, () => run(handler, 'pid')));
    const pids = new Set(found.map((one) => (JSON.parse(String(one)) as { pid: number }).pid));
    expect(pids.size).toBeGreaterThan(2);
    await expect.poll(() => suite.marked.living().length).toBeLessThanOrEqual(2);
  });
});

describe('tasks that a process gets together', () => {
  const shared = { concurrency: 200, processes: 1 };
  const does = (verb: string): string => JSON.stringify({ do: verb });

  test('are run in order, and each has its own answer', async () => {
    const handler = await open(shared);
    const tasks = [
      '{"n":1}',
      does('fail tile'),
      ' [1, "ü"]\n',
      does('final no'),
      does('pid'),
      '{"n":12345678901234567890}',
    ];
    const [first, failed, list, final, pid, big] = await Promise.all(
      tasks.map((raw) => begin(handler, raw).catch((error: unknown) => error)),
    );
    expect([first, list, big].map(String)).toEqual(['{"n":1}', '[1,"ü"]', '{"n":12345678901234567890}']);
    expect(failed).toMatchObject({ name: 'RuntimeError' });
    expect(final).toMatchObject({ retry: false });
    expect(JSON.parse(String(pid))).toMatchObject({ served: 5 });
  });

  test('more of them than go into one frame', async () => {
    const handler = await open(shared);
    const tasks = Array.from({ length: 200 }, (_, n) =>
      JSON.stringify({ n, text: 'x'.repeat(50 * (n % 100)) }),
    );
    const results = await Promise.all(tasks.map((raw) => begin(handler, raw)));
    expect(results.map(String)).toEqual(tasks);
  });

  test('each is told of itself, and its reports and tasks are its own', async () => {
    const handler = await open(shared);
    const reports: unknown[] = [];
    const added: string[] = [];
    const own = (id: string, attempt: number): Parameters<typeof begin>[2] => ({
      id,
      attempt,
      progress: (value: unknown) => void reports.push([id, value]),
      spawn: (tasks: Iterable<unknown>) => {
        for (const task of tasks) added.push(String(task));
        return [];
      },
    });
    const [one, two, , , again] = await Promise.all([
      begin(handler, does('context'), own('tile ü', 1)),
      begin(handler, does('context'), own('7', 1)),
      begin(handler, does('progress 1'), own('c', 1)),
      begin(handler, does('spawn x'), own('d', 1)),
      begin(handler, does('context'), own('e', 2)),
    ]);
    const about = [one, two, again].map(
      (found) => JSON.parse(String(found)) as { id: string; attempt: number },
    );
    expect(about.map(({ id, attempt }) => [id, attempt])).toEqual([
      ['tile ü', 1],
      ['7', 1],
      ['e', 2],
    ]);
    expect(about[0]).toMatchObject({ queue: 'queue', traceparent: null });
    expect(reports).toEqual([['c', { step: 0 }]]);
    expect(added).toEqual(['x', '{"n":1,"id":"d/1"}']);
  });

  test('one whose JSON is more than Python reads is text, and the others are not', async () => {
    const handler = await open(shared);
    const deep = `${'['.repeat(2_000)}${']'.repeat(2_000)}`;
    const long = `[${'1'.repeat(5_000)}]`;
    const results = await Promise.all(['[1, 2]', deep, long, '[3, 4]'].map((raw) => begin(handler, raw)));
    expect(results.map(String)).toEqual(['[1,2]', deep, long, '[3,4]']);
  });

  test('one that is cancelled before its turn is not run', async () => {
    const handler = await open(shared);
    const [holding, waiting] = [new TaskAbort(), new TaskAbort()];
    const held = failure(begin(handler, does('polite'), { abort: holding }));
    const cancelled = failure(begin(handler, does('say it'), { abort: waiting }));
    const other = begin(handler, does('pid'));
    await suite.book.wait('working');
    waiting.abort(new Error('not that'));
    holding.abort(new Error('enough'));
    expect((await held).message).toBe('stopped: enough');
    expect((await cancelled).message).toBe('stopped: not that');
    expect(JSON.parse(String(await other))).toMatchObject({ served: 2 });
    expect(suite.book.lines).not.toContain('it');
  });

  test('a process that dies among them fails those that it has begun and not answered, each once', async () => {
    const handler = await open(shared);
    const nap = failure(begin(handler, does('nap')));
    await suite.book.wait('napping');
    const [, died, notBegun, nor] = await Promise.all(
      [does('{}'), does('die'), does('pid'), does('nap')].map((raw) =>
        begin(handler, raw).catch((error: unknown) => error),
      ),
    );
    for (const error of [died, await nap])
      expect((error as Error).message).toMatch(/^Python ended before the task did, killed by SIGSEGV/);
    for (const error of [notBegun, nor]) expect(error).toBeInstanceOf(NotBegun);
    expect(String(await run(handler, 'pid'))).toContain('"served":1');
  });

  test('a process that is spent says so once, and the others are run by it or by the next one', async () => {
    const handler = await open({ ...shared, maxTasks: 2 });
    const pids = await Promise.all(Array.from({ length: 5 }, () => begin(handler, does('pid'))));
    expect(pids.map((one) => (JSON.parse(String(one)) as { served: number }).served)).toEqual([
      1, 2, 3, 4, 5,
    ]);
    expect(String(await run(handler, 'pid'))).toContain('"served":1');
  });
});

describe('what cannot be loaded is reported in one line', () => {
  test.each([
    ['nowhere', /^there is no module nowhere in the working directory/],
    ['a b', /^--python a b is no module: write tasks:simulate/],
  ])('%s', async (target, message) => {
    const error = await failure(open({ target }));
    expect(error).toMatchObject({ name: 'HandlerLoadError', message: expect.stringMatching(message) });
  });

  test('a module that fails, with its traceback in the log', async () => {
    const error = await failure(open({ target: 'broken_tasks' }));
    expect(error.message).toMatch(
      /^module broken_tasks does not load: ModuleNotFoundError: No module named 'not_there' \(broken_tasks\.py, line 3, in <module>\)$/,
    );
    expect(suite.book.lines.join('\n')).toContain('import not_there');
  });

  test('an interpreter without the package, and one that is not there', async () => {
    const { env } = suite.marked;
    const error = await failure(open({ env: { ...env, PYTHONPATH: '' } }));
    expect(error.message).toMatch(/^this Python has no package millrace: .*pip install millrace/);
    const absent = await failure(open({ executable: 'python0' }));
    expect(absent.message).toMatch(/^command python0 is not in PATH/);
  });

  test('a module that loads for too long, and a worker that is stopped meanwhile', async () => {
    const late = await failure(open({ target: 'slow_tasks', timeoutMs: 20 }));
    expect(late.message).toBe('--python slow_tasks was not loaded within 20ms: see --module-timeout');
    const handler = await open({ target: 'slow_tasks', stopping: AbortSignal.abort(new Error('stop')) });
    expect(suite.marked.living()).toEqual([]);
    await handler[Symbol.asyncDispose]();
  });
});
