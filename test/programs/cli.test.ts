/** The commands of `millrace` in a shell: output, one line per error, exit codes. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, afterAll, describe, expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import type { TaskContext } from '../../worker/task/handler.ts';
import { eventually } from '../support/eventually.ts';
import { millrace, MILLRACE, start } from '../support/millrace.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  server = await startRedis();
  env = { MILLRACE_REDIS_URL: server.url };
});
afterAll(() => server[Symbol.asyncDispose]());

/** Keys of its own for each test. */
let used = 0;
function freshKeys(): { keys: ReturnType<typeof queueKeys>; flags: string[] } {
  const keys = queueKeys(`queue-${++used}`, `result-${used}`);
  return { keys, flags: ['--queue', keys.queue, '--result', keys.result] };
}

describe('enqueue', () => {
  test('a task from the command line goes in as it is, and its id is printed', async () => {
    const { keys, flags } = freshKeys();
    const text = await millrace(['enqueue', 'hello world', ...flags], { env });
    const json = await millrace(['enqueue', '{"id":"a1","n":2}', ...flags], { env });
    expect([text.stdout, json.stdout]).toEqual(['hello world\n', 'a1\n']);
    expect(await server.client().lrange(keys.queue, 0, -1)).toEqual(['{"id":"a1","n":2}', 'hello world']);
  });

  test('a task that expires, and one that is unique: a duplicate is not pushed, and the id of the other one is printed', async () => {
    const { keys, flags } = freshKeys();
    const unique = ['--unique', 'k', '--unique-for', '10m', '--expires-in', '1h', ...flags];
    const first = await millrace(['enqueue', '{"id":"a","n":1}', ...unique], { env });
    const second = await millrace(['enqueue', '{"id":"b","n":2}', ...unique], { env });
    expect([first.stdout, second.stdout]).toEqual(['a\n', 'a\n']);
    expect([first.stderr, second.stderr]).toEqual(['', 'not pushed: task a has the key\n']);
    const [raw, ...others] = await server.client().lrange(keys.queue, 0, -1);
    expect(others).toEqual([]);
    const { millrace: said } = JSON.parse(raw ?? '') as { millrace: Record<string, unknown> };
    expect(said).toEqual({ unique: 'k', uniqueForMs: 600_000, expiresAt: expect.any(Number) as number });

    const refused = async (...args: string[]): Promise<string> =>
      (await millrace(['enqueue', ...args, ...flags], { env })).stderr;
    expect(await refused('a text', '--unique', 'k')).toContain('is a JSON object, which can carry it');
    expect(await refused('{}', '--unique-for', '5m')).toContain('--unique-for is for --unique');
    expect(await refused('-', '--unique', 'k')).toContain('--unique is for one task');
    expect(await refused('{}', '--expires-in', '5m', '--expires-at', '2030-01-01T00:00Z')).toContain(
      'choose one',
    );
    expect(await refused('{}', '--expires-at', '2026-03-01T08:00Z')).toContain(
      '--expires-at is 2026-03-01T08:00:00.000Z, which is over: name a time that is to come',
    );
  });

  test('a reader that closes the output early ends it with an error, as long as tasks are left', async () => {
    const { keys, flags } = freshKeys();
    const input = 'task\n'.repeat(200_000);
    await using program = start(MILLRACE, ['enqueue', '-', ...flags], { env, input });
    program.child.stdout?.destroy();
    const { code, stderr } = await program.ended;
    expect(stderr).toMatch(/its output was closed after \d+ tasks were enqueued: the rest was not/);
    expect(code).toBe(1);
    expect(await server.client().llen(keys.queue)).toBeLessThan(200_000);
  });

  test('each line of stdin is a task, byte for byte, and the empty ones are left out', async () => {
    const { keys, flags } = freshKeys();
    const input = Buffer.concat([
      Buffer.from('one\n\n'),
      Buffer.from([0xff, 0x00, 0x0a]),
      Buffer.from('last'),
    ]);
    const ended = await millrace(['enqueue', '-', ...flags], { env, input });
    expect(ended.code).toBe(0);
    const tasks = await server.client().lrangeBuffer(keys.queue, 0, -1);
    expect(tasks).toEqual([Buffer.from('last'), Buffer.from([0xff, 0x00]), Buffer.from('one')]);
  });

  test("the shell's trace goes along with tasks that can carry it", async () => {
    const { keys, flags } = freshKeys();
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
    const input = '{"id":"a1","n":2}\nplain\n';
    const inTrace = { ...env, TRACEPARENT: traceparent };
    const ended = await millrace(['enqueue', '-', ...flags], { env: inTrace, input });
    expect(ended.stdout).toBe('a1\nplain\n');
    const tasks = await server.client().lrange(keys.queue, 0, -1);
    expect(tasks).toEqual(['plain', `{"traceparent":"${traceparent}","id":"a1","n":2}`]);
  });

  test('--delay puts it among the delayed, due then', async () => {
    const { keys, flags } = freshKeys();
    const before = Date.now();
    expect((await millrace(['enqueue', 'later', '--delay', '1h', ...flags], { env })).code).toBe(0);
    const redis = server.client();
    const due = await redis.zcount(keys.delayed, before + 3_600_000, before + 3_660_000);
    expect(due).toBe(1);
    expect(await redis.llen(keys.queue)).toBe(0);
  });

  test('--file pushes each line of a file, and --at puts it among the delayed', async () => {
    const { keys, flags } = freshKeys();
    const file = join(server.dir, 'tasks.txt');
    await writeFile(file, 'one\n\ntwo');
    const at = new Date(Date.now() + 3_600_000).toISOString();
    const [pushed, later] = await Promise.all([
      millrace(['enqueue', '--file', file, ...flags], { env }),
      millrace(['enqueue', 'later', '--at', at, ...flags], { env }),
    ]);
    expect([pushed, later.stdout]).toEqual([{ code: 0, stdout: 'one\ntwo\n', stderr: '' }, 'later\n']);
    const redis = server.client();
    expect(await redis.lrange(keys.queue, 0, -1)).toEqual(['two', 'one']);
    const due = Date.parse(at);
    expect(await redis.zcount(keys.delayed, due - 5_000, due + 5_000)).toBe(1);
  });

  test('--wait prints results in the order of the tasks; a failure is one line and exit 1', async () => {
    const { keys, flags } = freshKeys();
    await using _worker = startWorker(server, keys, {
      handler: (task) => {
        if (task === 'bad') throw Object.assign(new Error('it cannot be done'), { retry: false });
        return String(task).toUpperCase();
      },
    });
    const one = await millrace(['enqueue', 'abc', '--wait', ...flags], { env });
    const many = await millrace(['enqueue', '--stdin', '--wait', ...flags], { env, input: 'x\ny\nz\n' });
    const bad = await millrace(['enqueue', 'bad', '--wait', ...flags], { env });
    expect([one.stdout, many.stdout]).toEqual(['ABC', 'X\nY\nZ\n']);
    expect(bad).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(
        /^millrace: task bad failed for good: [^\n]*it cannot be done\n$/,
      ) as unknown,
    });
    const dead = await millrace(['dead', 'list', ...flags], { env });
    expect(dead.stdout).toMatch(
      /^WHEN +ATTEMPTS +WORKER +TASK +ERROR\n\S+Z +1 +worker-\S+ +bad +[^\n]*it cannot be done\n$/,
    );
    const [letter] = JSON.parse(
      (await millrace(['dead', 'list', '-o', 'json', ...flags], { env })).stdout,
    ) as unknown[];
    expect(letter).toMatchObject({
      task: 'bad',
      error: expect.stringContaining('it cannot be done') as unknown,
      attempts: 1,
    });
  });
});

describe('result', () => {
  test('prints what the hash holds, byte for byte', async () => {
    const { keys, flags } = freshKeys();
    await server.client().hset(keys.result, 'a', 'no line feed behind this');
    expect(await millrace(['result', 'a', ...flags], { env })).toEqual({
      code: 0,
      stdout: 'no line feed behind this',
      stderr: '',
    });
  });

  test('gives up after --timeout with one line and exit 1', async () => {
    const { flags } = freshKeys();
    const ended = await millrace(['result', 'nothing', '--timeout', '100ms', ...flags], { env });
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toBe('millrace: no result of task nothing within 100 ms: it may still come\n');
  });
});

describe('pause and resume', () => {
  test('print what they did, and inspect shows the reason', async () => {
    const { keys, flags } = freshKeys();
    const run = async (...args: string[]): Promise<string> =>
      (await millrace([...args, ...flags], { env })).stdout;
    expect(await run('pause', '--reason', 'the disk is full')).toBe(`${keys.queue} is paused\n`);
    expect(await run('inspect')).toMatch(/\npaused \S+ ago: the disk is full\n/);
    expect(JSON.parse(await run('inspect', '-o', 'json'))).toMatchObject({ paused: true });
    expect(await run('resume')).toBe(`${keys.queue} is resumed\n`);
    expect(await run('resume')).toBe(`${keys.queue} was not paused\n`);
    expect(await run('inspect')).not.toContain('paused');
  });
});

test('result --progress prints the progress on stderr, and inspect shows it', async () => {
  const { keys, flags } = freshKeys();
  const finish = Promise.withResolvers<string>();
  const handler = (_task: unknown, { progress }: TaskContext): Promise<string> => {
    progress({ percent: 40 });
    return finish.promise;
  };
  await using _worker = startWorker(server, keys, { id: 'w-1', handler });
  await server.client().lpush(keys.queue, '{"id":"a"}');
  await using waiting = start(MILLRACE, ['result', 'a', '--progress', ...flags], { env });
  await eventually(() => expect(waiting.stderr()).toBe('{"percent":40}\n'));
  const table = await millrace(['inspect', ...flags], { env });
  expect(table.stdout).toMatch(/\nTASK +WORKER +PROGRESS\na +w-1 +\{"percent":40\}\n$/);
  finish.resolve('done');
  expect(await waiting.ended).toEqual({ code: 0, stdout: 'done', stderr: '{"percent":40}\n' });
});

test('cancel prints what it found, and a waiting client gets one line', async () => {
  const { keys, flags } = freshKeys();
  const redis = server.client();
  await redis.lpush(keys.queue, 'waits');
  await redis.hset(keys.result, 'done', 'x');
  const cancelled = await millrace(['cancel', 'waits', 'done', ...flags], { env });
  expect(cancelled).toEqual({ code: 0, stdout: 'waits: marked\ndone: finished\n', stderr: '' });
  await using _worker = startWorker(server, keys, { handler: () => 'ran' });
  const result = await millrace(['result', 'waits', ...flags], { env });
  expect(result).toEqual({ code: 1, stdout: '', stderr: 'millrace: task waits was cancelled\n' });
});

describe('dead', () => {
  async function withLetters(): Promise<ReturnType<typeof freshKeys>> {
    const fresh = freshKeys();
    const redis = server.client();
    const bury = (at: number, header: object, raw: string): Promise<unknown> =>
      redis.lpush(
        fresh.keys.dead,
        `${at} ${JSON.stringify({ attempts: 5, worker: 'w-1', ...header })}\n${raw}`,
      );
    await bury(Date.now() - 7_500_000, { id: '7', error: 'timeout: no answer' }, '{"id":7,"n":1}');
    await bury(Date.now(), { error: 'timeout: no answer' }, 'text');
    await bury(Date.now(), { error: 'no such tile' }, 'other');
    return fresh;
  }

  test('show prints all that is known of a task, as text and as JSON', async () => {
    const { flags } = await withLetters();
    const shown = await millrace(['dead', 'show', '7', ...flags], { env });
    expect(shown.stdout).toMatch(
      /^id: +7\nwhen: +\S+Z \(2h5m ago\)\nattempts: 5\nworker: +w-1\nerror: +timeout: no answer\ntask: +\{"id":7,"n":1\}\n$/,
    );
    const json = await millrace(['dead', 'show', 'text', '-o', 'json', ...flags], { env });
    expect(JSON.parse(json.stdout)).toMatchObject([{ task: 'text', error: 'timeout: no answer' }]);
    const nobody = await millrace(['dead', 'show', 'nobody', ...flags], { env });
    expect(nobody).toEqual({ code: 1, stdout: '', stderr: 'millrace: no dead letter of task nobody\n' });
  });

  test('what something else wrote has no time', async () => {
    const { keys, flags } = freshKeys();
    await server.client().lpush(keys.dead, 'a note');
    const run = async (...args: string[]): Promise<string> =>
      (await millrace(['dead', ...args, ...flags], { env })).stdout;
    expect(await run('list')).toMatch(
      /\n\? +0 +a note +not a dead letter: something else wrote into this list\n$/,
    );
    expect(await run('show', 'a note')).toMatch(/^id: +a note\nwhen: +\?\nattempts: 0\n/);
    expect(JSON.parse(await run('list', '-o', 'json'))).toEqual([
      { queue: keys.queue, error: expect.any(String) as unknown, attempts: 0, worker: '', task: 'a note' },
    ]);
  });

  test('requeue and drop take ids, an error, an age, or all', async () => {
    const { keys, flags } = await withLetters();
    const run = async (...args: string[]): Promise<string> => {
      const { stdout, stderr } = await millrace(['dead', ...args, ...flags], { env });
      return stdout + stderr;
    };
    expect(await run('requeue', '--error', 'timeout', '--older-than', '2h')).toBe('1 requeued\n');
    expect(await server.client().lrange(keys.queue, 0, -1)).toEqual(['{"id":7,"n":1}']);
    expect(await run('drop', 'other', 'nobody')).toBe('1 dropped\n');
    expect(await run('drop', 'other')).toMatch(/^millrace: no dead letter matches/);
    expect(await run('requeue', '--all')).toBe('1 requeued\n');
    expect(await run('requeue', '--all')).toBe('0 requeued\n');
    expect(await server.client().lrange(keys.queue, 0, -1)).toEqual(['text', '{"id":7,"n":1}']);
  });
});

describe('inspect', () => {
  test('shows the queue and its workers, as a table and as JSON', async () => {
    const { keys, flags } = freshKeys();
    const finish = Promise.withResolvers<void>();
    await using worker = startWorker(server, keys, { id: 'w-1', handler: () => finish.promise });
    await worker.ready();
    await server.client().lpush(keys.queue, 'running');
    const started = (): Promise<{ stdout: string }> => millrace(['inspect', '-o', 'json', ...flags], { env });
    let view = JSON.parse((await started()).stdout) as { inFlight: number };
    while (view.inFlight === 0) view = JSON.parse((await started()).stdout) as { inFlight: number };
    await server.client().lpush(keys.queue, 'w1', 'w2');
    const table = await millrace(['inspect', ...flags], { env });
    expect(table.stdout).toMatch(/^QUEUE +WAITING +IN FLIGHT.*\nqueue-\d+ +[12] +1 /);
    expect(table.stdout).toMatch(/\nWORKER +STATE.*\nw-1 +busy +1 +1 +\d+s +\d+s +test\n$/);
    finish.resolve();
  });
});
