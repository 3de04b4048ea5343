/** `millrace workers` and `millrace drain` as a shell sees them, with real workers. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { millrace, MILLRACE, start } from '../support/millrace.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  server = await startRedis();
  env = { MILLRACE_REDIS_URL: server.url };
});
afterAll(() => server[Symbol.asyncDispose]());

test('workers lists the workers, and with --tasks their tasks', async () => {
  const keys = freshKeys();
  const flags = ['--queue', keys.queue, '--result', keys.result];
  const finish = Promise.withResolvers<void>();
  await using busy = startWorker(server, keys, { id: 'w-1', handler: () => finish.promise });
  await busy.ready();
  await server.client().lpush(keys.queue, '{"id":"job-7"}');
  await eventually(async () => expect(await server.client().hget(keys.load, 'w-1')).toBe('1'));
  await using idle = startWorker(server, keys, { id: 'w-2', handler: () => 'x' });
  await idle.ready();
  const [table, json, yaml] = await Promise.all([
    millrace(['workers', '--tasks', ...flags], { env }),
    millrace(['workers', '-o', 'json', ...flags], { env }),
    millrace(['workers', '-o', 'yaml', ...flags], { env: { ...env, FORCE_COLOR: '1' } }),
  ]);
  expect(table.stdout).toMatch(
    /^WORKER +STATE +IN FLIGHT +SLOTS +AGE +EPOCH +VERSION +TASKS\nw-1 +busy +1 +1 +\S+s +\d+ +test +job-7\nw-2 +idle +0 +1 .*\n$/,
  );
  expect(JSON.parse(json.stdout)).toMatchObject([
    { id: 'w-1', state: 'busy', inFlight: 1, slots: 1, version: 'test' },
    { id: 'w-2', state: 'idle' },
  ]);
  expect(json.stdout).not.toContain('job-7');
  expect(yaml.stdout).toMatch(/^- id: w-1\n {2}state: busy\n {2}inFlight: 1\n/);
  finish.resolve();
});

test('drain waits until the worker has finished, and prints what comes next; --undo makes it resume', async () => {
  const keys = freshKeys();
  const flags = ['--queue', keys.queue, '--result', keys.result];
  const redis = server.client();
  const finish = Promise.withResolvers<string>();
  await using busy = startWorker(server, keys, { id: 'w-1', handler: () => finish.promise });
  await busy.ready();
  await redis.lpush(keys.queue, 'a');
  await eventually(async () => expect(await redis.hget(keys.load, 'w-1')).toBe('1'));
  const late = await millrace(['drain', 'w-1', '--timeout', '300ms', ...flags], { env });
  expect(late).toMatchObject({ code: 1, stdout: '' });
  expect(late.stderr).toMatch(/^millrace: not drained yet: w-1 \(1 in flight\); they go on draining for 5m/);
  await using draining = start(MILLRACE, ['drain', 'w-1', ...flags], { env });
  await redis.lpush(keys.queue, 'b');
  finish.resolve('done');
  expect(await draining.ended).toEqual({
    code: 0,
    stdout: 'w-1 is drained\n',
    stderr: 'it takes no tasks for 5m, then resumes (sooner: millrace drain --undo)\n',
  });
  expect([await redis.hget(keys.result, 'a'), await redis.lrange(keys.queue, 0, -1)]).toEqual([
    'done',
    ['b'],
  ]);
  const undone = await millrace(['drain', '--all', '--undo', ...flags], { env });
  expect(undone.stdout).toBe('w-1 takes tasks again\n');
  await eventually(async () => expect(await redis.hget(keys.result, 'b')).toBe('done'));
});

test('a Job is not drained: alone it is refused, beside workers it is left out', async () => {
  const keys = freshKeys();
  const flags = ['--queue', keys.queue, '--result', keys.result, '--timeout', '10s'];
  await using job = startWorker(server, keys, { id: 'job/videos-1', handler: () => 'done' });
  await job.ready();
  const refused = {
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(
      /has "job\/videos-1", a Job, which ends with its task: only workers can/,
    ) as unknown,
  };
  expect(await millrace(['drain', '--all', ...flags], { env })).toEqual(refused);
  await using worker = startWorker(server, keys, { id: 'w-1', handler: () => 'done' });
  await worker.ready();
  expect(await millrace(['drain', 'w-1', 'job/videos-1', ...flags], { env })).toEqual(refused);
  const drained = await millrace(['drain', '--all', ...flags], { env });
  expect(drained).toMatchObject({ code: 0, stdout: 'w-1 is drained\n' });
});

test.each([
  [['drain'], 2, /drain needs ids of workers, --pool for all of a pool, or --all/],
  [['drain', 'w', '--all'], 2, /choose one/],
  [['drain', 'nobody'], 1, /queue task_queue has no worker "nobody": it has none/],
  [['drain', '--all'], 1, /has no workers: there is nothing to drain/],
] as const)('millrace %j is one line', async (args, code, says) => {
  const ended = await millrace(args, { env });
  expect(ended).toEqual({ code, stdout: '', stderr: expect.stringMatching(says) as unknown });
});
