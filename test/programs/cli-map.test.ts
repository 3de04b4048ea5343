/** `millrace map` as a real process: lines in, results out, on this machine and by the workers of a queue. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { millrace, MILLRACE, start, type Ended, type StartOptions } from '../support/millrace.ts';
import { startRedis } from '../support/redis.ts';

let folder: string;
/** Where the servers of the runs keep what they keep. */
let temporary: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-map-'));
  temporary = await mkdtemp(join(tmpdir(), 'millrace-map-tmp-'));
});
afterAll(() => Promise.all([folder, temporary].map((dir) => rm(dir, { recursive: true, force: true }))));

function map(args: readonly string[], input: string | Buffer): Promise<Ended> {
  return millrace(['map', ...args], optionsOf(input));
}

function optionsOf(input: string | Buffer): StartOptions {
  return { input, cwd: folder, env: { TMPDIR: temporary } };
}

const lines = (count: number): string[] => Array.from({ length: count }, (_, i) => `line ${i + 1}`);
const text = (all: readonly string[]): string => all.map((line) => `${line}\n`).join('');

describe('on this machine', () => {
  test('each line goes through the command, and the results come in order; nothing is left', async () => {
    const ended = await map(['--command', 'tr a-z A-Z', '--jobs', '3'], `\n${text(lines(40))}last`);
    const expected = text([...lines(40), 'last'].map((line) => line.toUpperCase()));
    expect(ended).toEqual({ code: 0, stdout: expected, stderr: '' });
    expect(await readdir(temporary)).toEqual([]);
  });

  test('a module in several processes, unordered', async () => {
    await writeFile(
      join(folder, 'who.mjs'),
      `import { writeFileSync, readdirSync } from 'node:fs';
       export default async (task) => {
         writeFileSync('here-' + process.pid, '');
         // each waits until the other process has a task as well
         while (readdirSync('.').filter((name) => name.startsWith('here-')).length < 2)
           await new Promise((resolve) => setTimeout(resolve, 10));
         return task + ' in ' + process.pid;
       }`,
    );
    const ended = await map(['--module', './who.mjs', '-j', '2', '--unordered'], text(lines(20)));
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    const results = ended.stdout.trim().split('\n');
    expect(results.map((result) => result.replace(/ in \d+$/, '')).toSorted()).toEqual(lines(20).toSorted());
    expect(new Set(results.map((result) => result.split(' ').at(-1))).size).toBe(2);
  });

  test('bytes are bytes, and NUL may end a task that has lines', async () => {
    const ended = await map(
      ['-0', '--command', 'od -An -tx1 -v'],
      Buffer.from([0xff, 0x0a, 0x00, 0x00, 0x61, 0x00]),
    );
    expect(ended).toEqual({ code: 0, stdout: ' ff 0a\n 61\n', stderr: '' });
  });

  test('equal lines are run each, one after the other', async () => {
    const ended = await map(
      ['--command', `sh -c 'mkdir lock && echo x >> runs && wc -l < runs && rmdir lock'`, '-j', '4'],
      'same\n'.repeat(40),
    );
    expect(ended).toEqual({ code: 0, stdout: text(lines(40)).replaceAll('line ', ''), stderr: '' });
  });

  test('failed lines are named with their reason, their results are empty lines, and the exit code is 1', async () => {
    const ended = await map(
      [
        '--command',
        `sh -c 'read line; [ "$line" != bad ] || { echo "no such thing" >&2; exit 65; }; echo "$line"'`,
      ],
      'a\nbad\nc\n',
    );
    expect(ended).toMatchObject({ code: 1, stdout: 'a\n\nc\n' });
    expect(ended.stderr).toMatch(/^line 2 failed: .*exit code 65: no such thing$/m);
    expect(ended.stderr).toMatch(/^millrace: 1 of 3 lines failed$/m);
  });

  test('--fail-fast gives the rest up', async () => {
    const ended = await map(['--command', 'false', '-j', '1', '--fail-fast'], text(lines(500)));
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(
      /^millrace: a line failed, so the others were given up after \d+ \(--fail-fast\)$/m,
    );
  });

  test('a worker that ends takes no line with it', async () => {
    const ended = await map(
      [
        '--command',
        `sh -c 'read line; [ -e once ] || { touch once; kill -9 $PPID; }; echo "$line"'`,
        '-j',
        '1',
      ],
      text(lines(5)),
    );
    expect(ended).toMatchObject({ code: 0, stdout: text(lines(5)) });
    expect(ended.stderr).toMatch(/a worker ended \(killed by SIGKILL\).*; its tasks are run again/);
  });

  test('a reader that closes the output ends it, and nothing is left', async () => {
    await using run = start(MILLRACE, ['map', '--command', 'cat'], optionsOf(text(lines(2_000))));
    await run.prints(/line 1\n/);
    run.child.stdout?.destroy();
    expect(await run.ended).toMatchObject({ code: 0, stderr: '' });
    expect(await readdir(temporary)).toEqual([]);
  });

  test('a pipe that has a name is read once', async () => {
    await promisify(execFile)('mkfifo', [join(folder, 'pipe')]);
    const written = writeFile(join(folder, 'pipe'), text(lines(5)));
    expect(await map(['--command', 'cat', '--file', 'pipe'], '')).toMatchObject({ stdout: text(lines(5)) });
    await written;
  });

  test('code that cannot be loaded ends it with the reason', async () => {
    expect(await map(['--module', './nowhere.mjs'], text(lines(3)))).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^millrace: a worker ended .*nowhere\.mjs/m),
    });
  });
});

describe('--resume', () => {
  test.each(['SIGINT', 'SIGKILL'] as const)(
    'after %s the same command continues, and prints all',
    async (signal) => {
      const [kept, gate] = [`kept-${signal}`, `gate-${signal}`];
      const args = [
        'map',
        '--resume',
        kept,
        '-j',
        '1',
        '--command',
        `sh -c 'read line; echo "$line" >> runs-${signal}; [ "$line" != "line 4" ] || until [ -e ${gate} ]; do sleep 0.05; done; echo "got $line"'`,
      ];
      {
        await using first = start(MILLRACE, args, optionsOf(text(lines(6))));
        await first.prints(/got line 3\n/);
        first.child.kill(signal);
        const ended = await first.ended;
        expect(ended.stdout).toBe(text(lines(3).map((line) => `got ${line}`)));
        if (signal === 'SIGINT') {
          expect(ended).toMatchObject({
            code: 1,
            stderr: `millrace: interrupted: 3 results are in ${kept}, and the same command continues\n`,
          });
          expect(await readdir(temporary)).toEqual([]);
        }
      }
      await writeFile(join(folder, gate), '');
      expect(await millrace(args, optionsOf(text(lines(6))))).toEqual({
        code: 0,
        stdout: text(lines(6).map((line) => `got ${line}`)),
        stderr: '',
      });
      const runs = (await readFile(join(folder, `runs-${signal}`), 'utf8')).trim().split('\n');
      expect(runs.filter((line) => line !== 'line 4')).toEqual(lines(6).filter((line) => line !== 'line 4'));
    },
  );

  test('failed lines are run again', async () => {
    const args = [
      '--resume',
      'failed',
      '--command',
      `sh -c 'read line; [ "$line" = a ] || [ -e mended ] && echo "$line"'`,
    ];
    expect(await map(args, 'a\nb\n')).toMatchObject({
      code: 1,
      stdout: 'a\n\n',
      stderr: expect.stringMatching(/^millrace: 1 of 2 lines failed: the same command runs them again$/m),
    });
    await writeFile(join(folder, 'mended'), '');
    expect(await map(args, 'a\nb\n')).toEqual({ code: 0, stdout: 'a\nb\n', stderr: '' });
  });

  test('another input is refused', async () => {
    await map(['--resume', 'other', '--command', 'cat'], 'a\nb\n');
    expect(await map(['--resume', 'other', '--command', 'cat'], 'a\nc\n')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('line 2 of the input is not the one whose result is in other'),
    });
  });
});

describe('by the workers of a queue', () => {
  test('the lines are tasks like any others, and their results stay', async () => {
    await using server = await startRedis();
    await using pool = start(
      MILLRACE,
      ['dev', '--redis', server.url, '--queue', 'q', '--command', 'tr a-z A-Z'],
      {
        env: { TMPDIR: temporary },
      },
    );
    await pool.prints(/0 to \d+ workers/);
    expect(await map(['--redis', server.url, '--queue', 'q'], text(lines(30)))).toEqual({
      code: 0,
      stdout: text(lines(30)).toUpperCase(),
      stderr: '',
    });
    expect(await server.client().hget('result', 'line 30')).toBe('LINE 30');
  });

  test('Ctrl-C cancels what was enqueued', async () => {
    await using server = await startRedis();
    const args = ['map', '--redis', server.url, '--queue', 'idle'];
    await using run = start(MILLRACE, args, optionsOf(text(lines(3))));
    await eventually(async () => expect(await server.client().llen('idle')).toBe(3));
    run.child.kill('SIGINT');
    expect(await run.ended).toMatchObject({
      code: 1,
      stderr: 'millrace: interrupted: with --resume <file>, the same command would continue\n',
    });
    const later = await millrace(['inspect', '--redis', server.url, '--queue', 'idle', '-o', 'json']);
    expect(JSON.parse(later.stdout)).toMatchObject({ waiting: 3 });
    await using pool = start(
      MILLRACE,
      ['dev', '--redis', server.url, '--queue', 'idle', '--command', 'touch ran'],
      { cwd: folder, env: { TMPDIR: temporary } },
    );
    await eventually(async () => expect(await server.client().llen('idle')).toBe(0));
    expect(existsSync(join(folder, 'ran'))).toBe(false);
    pool.child.kill('SIGINT');
    await pool.ended;
    expect(existsSync(join(folder, 'ran'))).toBe(false);
  });
});

test.each([
  [[], 'nothing to run the lines with: give code, such as --command ./compute, or a pool that has workers'],
  [['--command', 'cat', '--pool', 'tiles'], '--pool names a queue whose workers run their own code'],
  [['--command', 'cat', '--module', './a.mjs'], 'more than one of --module, --python, --command and --http'],
  [['--pool', 'tiles', '--jobs', '3'], '--jobs is for lines that run on this machine'],
  [['--pool', 'tiles', '--keep-running'], '--keep-running is for lines that run on this machine'],
  [['--command', 'cat', '--file', './nowhere'], 'the input cannot be read: ENOENT'],
  [['--command', 'cat', '--jobs', '0'], 'It must be a whole number from 1'],
])('wrong usage: %j', async (args, message) => {
  expect(await map(args, 'a\n')).toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringContaining(message),
  });
});
