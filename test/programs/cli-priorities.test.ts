/** Priorities in a shell: a worker that serves them, `millrace dev`, and what is refused. */
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LogEvent } from '../../runtime/log-event.ts';
import { eventually } from '../support/eventually.ts';
import { MILLRACE, millrace, start, type Ended } from '../support/millrace.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { spawnProgram } from '../support/workers.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server[Symbol.asyncDispose]());

test('a worker with --priorities announces them, and the commands about the queue concern all of them', async () => {
  const { queue, result } = freshKeys();
  const where = ['--redis', server.url, '--queue', queue, '--result', result];
  const run = (...args: string[]): Promise<Ended> => millrace([...args, ...where]);
  const refused = await run('enqueue', 'a', '--priority', 'high');
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr).toMatch(
    /serves no tasks of high priority, and nothing was pushed: .*--priorities high/,
  );
  expect(await run('enqueue', 'a', '--priority', 'urgent')).toMatchObject({ code: 2 });
  {
    await using worker = spawnProgram([...where, '--command', 'tr a-z A-Z', '--priorities', 'high,low']);
    await worker.reports(LogEvent.Registered);
    await eventually(async () =>
      expect(await run('enqueue', 'a', '--priority', 'low', '--wait')).toMatchObject({
        code: 0,
        stdout: 'A',
      }),
    );
  }
  // what a worker has announced stays
  expect(await run('enqueue', 'b', '--priority', 'high')).toMatchObject({ code: 0, stdout: 'b\n' });
  expect(JSON.parse((await run('inspect', '-o', 'json')).stdout)).toMatchObject({ queue, waiting: 1 });
  const { stdout } = await run('inspect', '--each');
  for (const list of [queue, `{${queue}}:high`, `{${queue}}:low`]) expect(stdout).toContain(list);
  expect((await run('limits', '--rate', '5/s')).stderr).toMatch(/has priorities, each with a list/);
  const moved = await run('move', '--to-queue', `${queue}-2`, '--to-result', `${result}-2`);
  expect(moved.code).not.toBe(0);
  expect(moved.stderr).toMatch(
    /has priorities \((high, low|low, high)\), whose tasks are in lists beside it/,
  );
  expect(await run('cancel', 'b')).toMatchObject({ code: 0 });
  expect(await server.client().zscore(`millrace:{${queue}}[{${queue}}:high]:cancelled`, 'b')).not.toBeNull();
});

test.concurrent.each<[RegExp, string[]]>([
  [/priorities are high, low or both with a comma, high,low: got "urgent"/, ['--priorities', 'urgent']],
  [/for one queue in one list/, ['--queues', 'a,b', '--priorities', 'high']],
  [/for one queue in one list/, ['--queue', 'a', '--partitions', '2', '--priorities', 'high']],
  [/"a\}b" has braces and no hash tag/, ['--queue', 'a}b', '--priorities', 'low']],
  [/queue and result are both "\{a\}:low"/, ['--queue', 'a', '--result', '{a}:low', '--priorities', 'low']],
])('a worker is refused: %s', async (words, flags) => {
  await using worker = spawnProgram(['--redis', server.url, '--command', 'cat', ...flags]);
  expect([await worker.ended, worker.stderr()]).toEqual([2, expect.stringMatching(words)]);
});

test('millrace dev: a task of high priority wakes it, by the YAML of a pool or a flag', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'millrace-priorities-'));
  const file = join(folder.path, 'pool.yaml');
  const { queue, result } = freshKeys();
  const where = ['--redis', server.url, '--queue', queue, '--result', result];
  await writeFile(
    file,
    `kind: WorkerPool\nspec: { queue: ${queue}, result: '${result}', priorities: [high] }\n`,
  );
  await using dev = start(
    MILLRACE,
    ['dev', '--redis', server.url, '--pool', file, '--command', 'tr a-z A-Z', '--max', '1'],
    { env: { TMPDIR: folder.path } },
  );
  await dev.prints(/0 to 1 workers/);
  await eventually(async () =>
    expect(await millrace(['enqueue', 'a', '--priority', 'high', '--wait', ...where])).toMatchObject({
      code: 0,
      stdout: 'A',
    }),
  );
  const both = await millrace([
    'dev',
    '--command',
    'cat',
    '--priorities',
    'low',
    '--partitions',
    '2',
    ...where,
  ]);
  expect([both.code, both.stderr]).toEqual([
    2,
    expect.stringMatching(/omit --priorities, or limits, partitions/),
  ]);
});

test('doctor finds tasks of a priority that no worker takes', async () => {
  const { queue, result } = freshKeys();
  const where = ['--redis', server.url, '--queue', queue, '--result', result];
  const notes = async (): Promise<string[]> => {
    const { stdout } = await millrace(['doctor', ...where, '-o', 'json']);
    const findings = JSON.parse(stdout) as { about: string; note: string }[];
    return findings.flatMap(({ about, note }) => (about.includes(':high') ? [note] : []));
  };
  await server.client().lpush(`{${queue}}:high`, 'a');
  expect(await notes()).toEqual(['1 task of high priority, and no worker takes them']);
  await using worker = spawnProgram([...where, '--command', 'cat', '--priorities', 'high']);
  await worker.reports(LogEvent.Registered);
  await eventually(async () => expect(await server.client().hget(result, 'a')).toBe('a'));
  expect(await notes()).toEqual([expect.stringMatching(/^0 waiting, .* 1 worker$/)]);
});
