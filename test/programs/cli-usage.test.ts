/** What `millrace` prints for a command that is wrong, or cannot be done: one line, an exit code, and a log where one is wanted. */
import { beforeAll, afterAll, describe, expect, test } from 'vitest';
import { queueKeys } from '../../queue/keys.ts';
import { version } from '../../runtime/version.ts';
import { millrace } from '../support/millrace.ts';
import { freePort } from '../support/ports.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';

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

interface Logged {
  readonly stack: string;
  readonly cause?: unknown;
}

describe('a server that does not let a command do its work', () => {
  test('a read-only replica: what writes ends with one line, what reads goes on', async () => {
    await using primary = await startRedis();
    await using replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(primary.port)] });
    const run = (...args: string[]): ReturnType<typeof millrace> =>
      millrace([...args, '--redis', replica.url], { input: 'line\n' });
    const writing = [
      ['enqueue', 'x'],
      ['enqueue', '--stdin'],
      ['map'],
      ['cancel', 'x'],
      ['pause'],
      ['resume'],
      ['drain', '--all'],
      ['limits', '--rate', '5/s'],
      ['limits', '--remove'],
      ['dead', 'requeue', '--all'],
      ['dead', 'drop', 'x'],
      ['batch', 'begin'],
      ['batch', 'cancel', 'x'],
    ];
    for (const args of writing) {
      const ended = await run(...args);
      expect(ended, args.join(' ')).toMatchObject({ code: 1, stdout: '' });
      expect(ended.stderr).toMatch(
        /^millrace: Redis at \S+ is a read-only replica, and nothing was written: name its primary, or sentinels\n$/,
      );
    }
    for (const args of [['inspect'], ['limits'], ['dead', 'list'], ['batch', 'list'], ['workers']])
      expect(await run(...args), args.join(' ')).toMatchObject({ code: 0, stderr: '' });
  });

  test('a password: how it is given to a command', async () => {
    await using guarded = await startRedis({ password: 'right' });
    const { port } = guarded;
    for (const url of [`redis://127.0.0.1:${port}`, `redis://:wrong@127.0.0.1:${port}`])
      expect((await millrace(['inspect', '--redis', url])).stderr).toBe(
        `millrace: Redis at 127.0.0.1:${port} refuses the user name or password: check those in the URL, or --redis-username and --redis-password (MILLRACE_REDIS_PASSWORD)\n`,
      );
  });

  test('a user without INFO: nothing but the output is printed', async () => {
    await server.client().call('ACL', 'SETUSER', 'blind', 'on', '>pw', '~*', '&*', '+@all', '-info');
    const url = server.url.replace('redis://', 'redis://blind:pw@');
    expect(await millrace(['inspect', '--redis', url])).toMatchObject({ code: 0, stderr: '' });
    expect(await millrace(['pause', '--queue', 'blind', '--redis', url])).toMatchObject({
      code: 0,
      stderr: '',
    });
  });
});

describe('usage', () => {
  test('alone it prints help; version prints the version', async () => {
    const alone = await millrace([]);
    expect(alone).toMatchObject({ code: 0, stderr: '' });
    const commands = ['dev', 'enqueue', 'result', 'cancel', 'inspect', 'pause', 'resume', 'dead', 'version'];
    for (const command of commands) expect(alone.stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    expect((await millrace(['version'])).stdout).toBe(`${version}\n`);
    expect((await millrace(['enqueue', '--help'])).stdout).toMatch(
      /--delay <duration>[^]*\nRedis:\n {2}--redis <url>/,
    );
  });

  test.each([
    [['nonsense'], /unknown command 'nonsense'/],
    [['enque', 'x'], /unknown command 'enque' \(Did you mean enqueue\?\)/],
    [['enqueue', 'x', '--dely', '1s'], /unknown option '--dely'/],
    [['enqueue', 'x', '--delay', 'soon'], /"soon" is not a duration/],
    [['enqueue', 'x', 'y'], /too many arguments/],
    [['enqueue'], /no task is given/],
    [['enqueue', 'x', '--stdin'], /choose one/],
    [['enqueue', 'x', '--file', 'y'], /choose one of an argument, --stdin and --file/],
    [['enqueue', '--file', 'not-there'], /the file of tasks cannot be read: ENOENT/],
    [['enqueue', 'x', '--at', 'noon'], /such as 2026-03-29T08:00:00Z/],
    [['enqueue', 'x', '--at', '2026-03-01', '--delay', '1s'], /both --delay and --at are given/],
    [['enqueue', 'x', '--timeout', '1s'], /--timeout is for --wait/],
    [['enqueue', 'x', '--redis', 'http://localhost'], /begins with "http:/],
    [['enqueue', 'x', '--queue', 'a', '--result', 'a'], /both "a"/],
    [['result'], /missing required argument 'id'/],
    [['inspect', '-o', 'xml'], /Allowed choices are table, json, yaml/],
    [['dead'], /dead needs a command: list/],
    [['cancel'], /missing required argument 'id'/],
    [['dead', 'show'], /missing required argument 'id'/],
    [['dead', 'requeue'], /dead requeue needs ids of tasks, --error, --older-than or --all/],
    [['dead', 'drop', 'a', '--all'], /both --all and a choice of dead letters are given/],
    [['dead', 'bury'], /unknown command 'dead bury'/],
    [['dead', 'list', '--count', '0'], /whole number from 1/],
    [['simulate', '--rate', '0'], /a number greater than 0/],
    [['simulate', '--rate', 'many'], /a number greater than 0/],
    [['simulate', '--duration', '0s'], /the trace has no tasks/],
    [['simulate', '--target', '0s'], /cannot have a target wait of 0s: give one from 100ms to 24h/],
    [['simulate', '--target', '25h'], /cannot have a target wait of 25h: give one from 100ms to 24h/],
    [['simulate', '--parked', '3', '--max', '2'], /3 parked replicas are more than .* 2: lower --parked/],
    [['simulate', '--pool', 'manifests/samples/jobs.yaml'], /only workers are simulated: remove spec.runAs/],
    [['dev'], /nothing to run tasks with/],
    [['dev', '--module', 'a.ts', '--command', 'cat'], /choose one/],
    [['dev', '--command', 'cat', '--min', '3', '--max', '2'], /at least 3 and at most 2/],
    [['dev', '--command', 'cat', '--max', '0'], /whole number from 1 to 10000/],
    [['dev', '--command', 'cat', '--pool', 'is-not-there.yaml'], /no such file/],
    [['dev', '--command', 'cat', '--pool', 'package.json'], /holds no WorkerPool/],
  ] as const)('millrace %j is one line and exit 2', async (args, line) => {
    const { code, stdout, stderr } = await millrace(args);
    expect(stderr).toMatch(line);
    expect(stderr).toMatch(/^millrace: [^\n]+\n$/);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  test.each([
    [['nonsense'], 'millrace'],
    [['--log-level', 'loud', 'inspect'], 'millrace'],
    [['enqueue', 'x', '--dely', '1s'], 'millrace enqueue'],
    [['dead', 'bury'], 'millrace dead'],
    [['dead', 'list', '--count', '0'], 'millrace dead list'],
    [['dead', 'drop', 'a', '--all'], 'millrace dead drop'],
    [['dev'], 'millrace dev'],
  ])('millrace %j points to the help of %s', async (args, command) => {
    const { stderr } = await millrace(args);
    expect(stderr).toMatch(new RegExp(` \\(see ${command} --help\\)\n$`));
    expect((await millrace([...command.split(' ').slice(1), '--help'])).stdout).toMatch(
      new RegExp(`^Usage: ${command} `),
    );
  });

  test('a Redis that is not there, and a key of another type, are one line and exit 1', async () => {
    const port = await freePort();
    const away = await millrace(['inspect', '--redis', `redis://127.0.0.1:${port}`]);
    expect(away.stderr).toMatch(/^millrace: Redis at 127.0.0.1:\d+ refuses connections: [^\n]+\n$/);
    const { keys, flags } = freshKeys();
    await server.client().set(keys.queue, 'a string');
    const pushed = await millrace(['enqueue', 'x', ...flags], { env });
    expect(pushed.stderr).toMatch(
      /^millrace: the key "queue-\d+" is not a list \(it is a string\): nothing was touched; use another key, or remove that one\n$/,
    );
    const other = freshKeys();
    await server.client().set(other.keys.cancelled, 'a string');
    const cancelled = await millrace(['cancel', 'x', ...other.flags], { env });
    expect(cancelled.stderr).toMatch(
      /^millrace: the key "millrace:\{queue-\d+\}:cancelled" is not a sorted set \(it is a string\): [^\n]+\n$/,
    );
    const third = freshKeys();
    await server.client().set(third.keys.batches, 'a string');
    const listed = await millrace(['batch', 'list', ...third.flags], { env });
    expect(listed.stderr).toMatch(
      /^millrace: the key "millrace:\{queue-\d+\}:batches" is a string, and Millrace has a sorted set there: [^\n]+\n$/,
    );
    const fourth = freshKeys();
    for (const key of [fourth.keys.batchInner('b'), fourth.keys.batch('b')]) {
      await server.client().set(key, 'a string');
      const shown = await millrace(['batch', 'show', 'b', ...fourth.flags], { env });
      expect(shown.stderr).toContain(`millrace: the key "${key}" is not a `);
    }
    const stopped = await millrace(['batch', 'cancel', 'b', ...fourth.flags], { env });
    expect(stopped.stderr).toMatch(
      /^millrace: the key "millrace:\{queue-\d+\}:batch:b" is not a hash [^\n]+\n$/,
    );
    const fifth = freshKeys();
    await server.client().zadd(fifth.keys.workers, 1, 'w');
    await server.client().set(fifth.keys.worker('w'), 'a string');
    const workers = await millrace(['workers', ...fifth.flags], { env });
    expect(workers.stderr).toMatch(
      /^millrace: the key "millrace:\{queue-\d+\}:worker:w" is a string, and Millrace has a hash there: [^\n]+\n$/,
    );
    const looked = await millrace(['inspect', ...flags], { env });
    expect(looked.stderr).toMatch(/^millrace: the key "queue-\d+" is not a list[^\n]+\n$/);
    expect([away.code, pushed.code, cancelled.code, looked.code]).toEqual([1, 1, 1, 1]);
  });

  describe('--log-level', () => {
    const logLines = (stderr: string): { level: string; msg: string; err: Logged }[] =>
      stderr.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));

    test.each([
      ['behind the command', ['inspect', '--log-level', 'debug'], {}],
      ['before it', ['--log-level', 'debug', 'inspect'], {}],
      ['from the environment', ['inspect'], { MILLRACE_LOG_LEVEL: 'debug' }],
    ] as const)('debug, %s: the stack of what ends a command, before its line', async (_, args, level) => {
      const port = await freePort();
      const { code, stderr } = await millrace(args, {
        env: { MILLRACE_REDIS_URL: `redis://127.0.0.1:${port}`, ...level },
      });
      expect(code).toBe(1);
      expect(stderr).toMatch(/\nmillrace: Redis at 127.0.0.1:\d+ refuses connections: [^\n]+\n$/);
      const [logged, ...others] = logLines(stderr);
      expect(others).toEqual([]);
      expect(logged).toMatchObject({ level: 'debug', msg: 'ended by an error' });
      expect(logged?.err.stack).toMatch(/at (?:async )?reach .*access\.ts/);
      expect(logged?.err.cause).toMatchObject({ code: 'ECONNREFUSED' });
    });

    test('any other logs nothing of it, and one that does not exist is wrong usage', async () => {
      const redis = ['--redis', `redis://127.0.0.1:${await freePort()}`];
      const info = await millrace(['inspect', '--log-level', 'info', ...redis]);
      expect(info.stderr).toMatch(/^millrace: [^\n]+\n$/);
      const loud = await millrace(['inspect', '--log-level', 'loud', ...redis]);
      expect(loud).toMatchObject({ code: 2, stdout: '' });
      expect(loud.stderr).toMatch(/Allowed choices are trace, debug, info, warn, error, silent/);
    });

    test('debug: a failed check of doctor has its reason, and so does a sample that is retried', async () => {
      const redis = ['--redis', `redis://127.0.0.1:${await freePort()}`];
      const doctor = await millrace(['doctor', ...redis, '--log-level', 'debug']);
      expect(doctor.code).toBe(1);
      expect(logLines(doctor.stderr)).toMatchObject([
        { msg: 'Redis could not be checked', err: { stack: expect.stringContaining('at ') } },
      ]);
      const { keys, flags } = freshKeys();
      await server.client().set(keys.queue, 'a string');
      const record = await millrace(['record', '--for', '300ms', '--log-level', 'debug', ...flags], { env });
      expect(record.stderr).toMatch(/^the key "queue-\d+" is not a list[^\n]+; retrying$/m);
      expect(logLines(record.stderr)[0]).toMatchObject({ msg: 'the sample failed; retrying' });
    });

    test('is in the help of every command', async () => {
      const { stdout } = await millrace(['dead', 'list', '--help']);
      expect(stdout).toMatch(/\nGlobal Options:\n {2}--log-level <level>/);
    });
  });
});

test('a chart that cannot be written', async () => {
  const ended = await millrace([
    'simulate',
    '--generate',
    'onoff',
    '--duration',
    '5m',
    '--chart',
    'not-there/chart.svg',
  ]);
  expect(ended).toMatchObject({ code: 1, stdout: '' });
  expect(ended.stderr).toMatch(
    /^millrace: the chart cannot be written, check --chart: ENOENT.*chart\.svg'\n$/,
  );
});

test('an autoscaler that is named twice is simulated once', async () => {
  const against = ['--against', 'keda,keda', '--against', 'hpa'];
  const { stdout } = await millrace(['simulate', '--generate', 'onoff', '--duration', '5m', ...against]);
  expect(stdout.match(/^(Millrace|KEDA|HPA)/gm)).toEqual(['Millrace', 'KEDA', 'HPA']);
});
