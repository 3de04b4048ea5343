/** A worker started with wrong arguments: one line with the remedy, and an exit code. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { spawnProgram, TASKS } from '../support/workers.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-usage-'));
  await writeFile(join(dir, 'throws.ts'), '\nthrow new Error("no licence for that");\n');
  await writeFile(join(dir, 'never.mjs'), 'await new Promise(() => {});\nexport default () => 1;\n');
  await writeFile(join(dir, 'imports-never.mjs'), 'import "./never.mjs";\nexport default () => 1;\n');
  await writeFile(join(dir, 'leaves.mjs'), 'process.exit();\n');
  await writeFile(
    join(dir, 'waits.mjs'),
    'await new Promise((r) => setTimeout(r, 3600e3));\nexport default () => 1;\n',
  );
});
afterAll(() => rm(dir, { recursive: true }));

const module = ['--module', TASKS];
test.concurrent.each<[number, RegExp, string[], NodeJS.ProcessEnv?]>([
  [2, /unknown option '--concurency'.*Did you mean --concurrency/, [...module, '--concurency', '4']],
  [
    2,
    /'--concurrency <n>' argument 'many' is invalid\. "many" is neither a number of tasks such as 8, nor auto/,
    [...module, '--concurrency', 'many'],
  ],
  [
    2,
    /argument 'auto:8-2' is invalid\. auto:8-2 has no numbers in it: write the smaller one first, auto:2-8/,
    [...module, '--concurrency', 'auto:8-2'],
  ],
  [2, /value 'x' from env 'MILLRACE_CONCURRENCY' is invalid/, module, { MILLRACE_CONCURRENCY: 'x' }],
  [2, /a lease of 500 ms is too short: give at least 1s/, [...module, '--lease', '500ms']],
  [2, /nothing to run tasks with: give --module/, []],
  [2, /more than one of --module, --python, --command and --http/, [...module, '--command', 'cat']],
  [2, /the Redis URL begins with "http:\/\/": use redis:\/\//, [...module, '--redis', 'http://localhost']],
  [2, /queue and result are both "same"/, [...module, '--queue', 'same', '--result', 'same']],
  [1, /module \.\/nothing\.ts does not exist/, ['--module', './nothing.ts']],
  [1, /does not load \(line 2\): Error: no licence for that/, ['--module', 'DIR/throws.ts']],
  [
    1,
    /module \S+\/never\.mjs does not load: a top-level await .* never settles/,
    ['--module', 'DIR/never.mjs'],
  ],
  [
    1,
    /module \S+\/imports-never\.mjs does not load/,
    ['--module', 'DIR/imports-never.mjs', '--http-port', '0'],
  ],
  [
    1,
    /module \S+\/leaves\.mjs ended the process with exit code 0 while it loaded/,
    ['--module', 'DIR/leaves.mjs'],
  ],
  [
    1,
    /module \S+\/waits\.mjs was not loaded within 100ms: see --module-timeout/,
    ['--module', 'DIR/waits.mjs', '--module-timeout', '100ms'],
  ],
  [1, /--http is not an HTTP URL: write http/, ['--http', 'htp://user:secret@127.0.0.1:9000/']],
  [1, /--http is not an HTTP URL: write http/, ['--http', 'http://user:a/bc#d@127.0.0.1:9000/']],
  [
    1,
    /--http has an @ behind its host: percent-encode/,
    ['--http', 'http://user:4711#secret@127.0.0.1:9000/'],
  ],
  [1, /--http 127\.0\.0\.1:9000 is not an HTTP URL: write http:\/\//, ['--http', '127.0.0.1:9000']],
  [1, /no-such-program/, ['--command', 'no-such-program --fast']],
])('exit code %i and %s', async (code, message, args, env = {}) => {
  await using worker = spawnProgram(
    args.map((arg) => arg.replace('DIR', dir)),
    env,
  );
  const ended = await worker.ended;
  expect(worker.stderr()).toMatch(message);
  expect(worker.stderr().trimEnd().split('\n')).toHaveLength(1);
  expect(worker.stderr()).toMatch(/^millrace-worker: /);
  expect(ended).toBe(code);
});

test('a worker that is stopped while its module loads ends immediately', async () => {
  await writeFile(join(dir, 'says.mjs'), 'console.error("loading"); await import("./waits.mjs");\n');
  await using worker = spawnProgram(['--module', join(dir, 'says.mjs')]);
  await eventually(() => expect(worker.stderr()).toContain('loading'));
  worker.signal('SIGTERM');
  expect(await worker.ended).toBe(0);
});

test('an unreachable Redis is reported once, and the worker keeps trying', async () => {
  await using worker = spawnProgram([...module, '--redis', 'redis://127.0.0.1:1']);
  expect(await worker.reports('redis-failed')).toMatchObject({
    code: 'ECONNREFUSED',
    msg: expect.stringMatching(/^Redis at 127\.0\.0\.1:1 refuses connections: is it running/),
  });
  worker.signal('SIGTERM');
  expect(await worker.ended).toBe(0);
});
