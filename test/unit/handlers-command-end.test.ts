/** How a program that is started per task ends: by an abort, by closing the handler, with the worker. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import type { OpenHandler } from '../../worker/task/handler.ts';
import { openCommand, type CommandOptions } from '../../worker/handlers/command.ts';
import { cannotFork } from '../../worker/handlers/shortage.ts';
import { failure, FIXTURES, handlerSuite, run } from '../fixtures/handler-suite.ts';

const suite = handlerSuite();

async function open(command: string | string[], rest: Partial<CommandOptions> = {}): Promise<OpenHandler> {
  const { marked, book } = suite;
  return suite.own(await openCommand({ command, cwd: FIXTURES, env: marked.env, log: book.log, ...rest }));
}

const sh = (script: string): string[] => ['sh', '-c', script];

describe('abort', () => {
  test('ends the program and what it started, with SIGTERM', async () => {
    const controller = new AbortController();
    const handler = await open(sh('sleep 600 & sleep 600 & echo ready >&2; wait'));
    const attempt = failure(run(handler, '', { signal: controller.signal }));
    await suite.book.wait('ready');
    await expect.poll(suite.marked.living).toHaveLength(3);
    controller.abort(new Error('the lease was lost'));
    expect((await attempt).message).toBe('stopped: the lease was lost');
    await suite.marked.gone();
  });

  test('kills what ignores SIGTERM after the grace', async () => {
    const controller = new AbortController();
    const handler = await open(
      sh('trap "echo asked >&2" TERM; echo ready >&2; while :; do sleep 0.01; done'),
      {
        graceMs: 3_000,
      },
    );
    const attempt = failure(run(handler, '', { signal: controller.signal }));
    await suite.book.wait('ready');
    const started = performance.now();
    controller.abort();
    expect((await attempt).message).toMatch(/^stopped: AbortError/);
    expect(performance.now() - started).toBeGreaterThan(2_950);
    expect(suite.book.lines).toContain('asked');
  });

  test('gives no result, even if the program exits in good order', async () => {
    const controller = new AbortController();
    const handler = await open(
      sh('trap "echo half; exit 0" TERM; echo ready >&2; while :; do sleep 0.01; done'),
    );
    const attempt = failure(run(handler, '', { signal: controller.signal }));
    await suite.book.wait('ready');
    controller.abort();
    expect((await attempt).message).toMatch(/^stopped/);
  });

  test('before the start starts nothing', async () => {
    const handler = await open(sh('echo started >&2'));
    const error = await failure(run(handler, '', { signal: AbortSignal.abort(new Error('too late')) }));
    expect(error.message).toBe('stopped: too late');
    expect(suite.book.lines).toEqual([]);
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
    await suite.marked.gone();
  });

  test('of what the program leaves running without its pipes', async () => {
    const handler = await open(sh('sleep 600 >/dev/null 2>&1 </dev/null & echo done'));
    expect(String(await run(handler))).toBe('done\n');
    await suite.marked.gone();
  });

  test('and a process that leaves the group with the pipes does not hold the slot', async () => {
    const handler = await open(sh('setsid sleep 600 & echo done'));
    expect(String(await run(handler))).toBe('done\n');
    for (const pid of suite.marked.living()) process.kill(pid, 'SIGKILL'); // Out of the handler's reach, as documented.
    await suite.marked.gone();
  });

  test('when the handler is closed', async () => {
    const handler = await open(sh('sleep 600 & echo ready >&2; wait'));
    const attempt = failure(run(handler));
    await suite.book.wait('ready');
    await handler[Symbol.asyncDispose]();
    await suite.marked.gone();
    expect((await attempt).message).toBe('stopped: CommandError: the handler is closed');
    expect((await failure(run(handler))).message).toMatch('the handler is closed');
  });

  test('when the handler is closed and a program ignores SIGTERM', async () => {
    const handler = await open(sh('trap "" TERM; echo ready >&2; while :; do sleep 0.01; done'), {
      graceMs: 100,
    });
    const attempt = failure(run(handler));
    await suite.book.wait('ready');
    await handler[Symbol.asyncDispose]();
    await suite.marked.gone();
    expect((await attempt).message).toMatch('the handler is closed');
  });

  test('when the handler is closed in the tick of the start', async () => {
    const handler = await open('sleep 600');
    const attempt = failure(run(handler));
    await handler[Symbol.asyncDispose]();
    await suite.marked.gone();
    expect((await attempt).message).toMatch('the handler is closed');
  });

  test('when the worker is killed, neither of programs nor of what they started', async () => {
    const worker = spawn(process.execPath, [`${FIXTURES}doomed.ts`], {
      env: suite.marked.env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let ready = 0;
    for await (const chunk of worker.stdout) {
      ready += String(chunk).split('ready').length - 1;
      if (ready === 2) break;
    }
    await expect.poll(suite.marked.living).toHaveLength(5); // The worker, and for each handler a shell and its child.
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    await suite.marked.gone();
  });
});

test('a shell that cannot fork is started again within the attempt, and the place is short until then', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-fork-'));
  const reports: (string | undefined)[] = [];
  const count = 'read -r n < count || n=0; echo $((n + 1)) > count';
  const script = `${count}; if [ "$n" -lt 2 ]; then echo "sh: 1: Cannot fork" >&2; exit 2; fi; echo "start $n"`;
  try {
    await writeFile(join(folder, 'count'), '0\n');
    const handler = await open(sh(script), { cwd: folder, onShortage: (why) => reports.push(why) });
    expect(String(await run(handler, ''))).toBe('start 2\n');
    expect(reports).toEqual(['CommandError: exit code 2: sh: 1: Cannot fork', undefined]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.each([
  ['dash', 'sh: 1: Cannot fork', true],
  ['bash', 'bash: fork: retry: Resource temporarily unavailable', true],
  ['bash without memory', '-bash: fork: Cannot allocate memory', true],
  ['busybox', "sh: can't fork: Resource temporarily unavailable", true],
  ['a program about forks', 'error: this repository is a fork', false],
])('what %s says', (_shell, words, said) => expect(cannotFork(words)).toBe(said));
