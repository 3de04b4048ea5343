/** The worker as its image starts it: with compiled code, without it, and with a damaged file. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LogEvent } from '../../runtime/log-event.ts';
import { layOutWorker } from '../../scripts/worker-image.ts';
import { createWorkerMetrics } from '../../worker/process/metrics.ts';
import { freePort } from '../support/ports.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf, spawnProgram, type WorkerProcess } from '../support/workers.ts';

const run = promisify(execFile);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-launch-'));
  await layOutWorker(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const start = (...args: string[]) => run(process.execPath, [join(folder, 'worker.js'), ...args]);
/** `prepare` is a command of its shell. */
function spawnLaunched(args: readonly string[], prepare = ':'): WorkerProcess {
  // the program that it is given is that of this checkout
  const command = `${prepare} && shift && exec "$0" "${join(folder, 'worker.js')}" "$@"`;
  return spawnProgram(args, {}, ['sh', '-c', command, process.execPath]);
}
const compiled = (): string => join(folder, 'compiled', 'worker');

test('the first start keeps what it has compiled, once; the worker is the same each time', async () => {
  const first = await start('--version');
  const kept = await stat(compiled());
  expect(kept.size).toBeGreaterThan(100_000);
  expect(await start('--version')).toEqual(first);
  expect((await stat(compiled())).mtimeMs).toBe(kept.mtimeMs);
});

test('the build of the image keeps the code of a worker that has done tasks and left', async () => {
  const { size } = await stat(compiled());
  await rm(compiled());
  // fails if the worker does not do the two tasks: then the answers of warm-up.ts are no longer those of the scripts
  await run(process.execPath, [join(folder, 'warm-up.js')]);
  expect((await stat(compiled())).size).toBeGreaterThan(size);
  expect((await start('--version')).stdout).toMatch(/^\d+\.\d+\.\d+/);
});

test('a spoiled file, or none and no folder for it, does not keep it from starting', async () => {
  await writeFile(compiled(), 'nothing that V8 has compiled');
  expect((await start('--version')).stdout).toMatch(/^\d+\.\d+\.\d+/);
  expect(await readFile(compiled(), 'utf8')).toBe('nothing that V8 has compiled');
  await rm(join(folder, 'compiled'), { recursive: true });
  expect((await start('--version')).stdout).toMatch(/^\d+\.\d+\.\d+/);
});

test('a server that has forgotten the scripts is sent them again, also by a worker without a free file descriptor', async () => {
  const module = join(folder, 'greedy.mjs');
  await writeFile(
    module,
    `import { openSync } from 'node:fs';
    const take = () => {
      try {
        for (;;) openSync('/dev/null');
      } catch ({ code }) {
        return code;
      }
    };
    // those, too, that others close
    export default (task) => new Promise((resolve) => setInterval(() => resolve(task + take()), 1));`,
  );
  await using server = await startRedis();
  const redis = server.client();
  const { queue, result } = freshKeys();
  const where = ['--redis', server.url, '--queue', queue, '--result', result];
  await using worker = spawnLaunched([...where, '--module', module], 'ulimit -n 100');
  await worker.reports(LogEvent.Registered);
  for (const task of ['1', '2', '3', '4']) {
    await redis.lpush(queue, task);
    expect(await resultsOf(redis, result, Number(task))).toMatchObject({ [task]: `${task}EMFILE` });
    await redis.script('FLUSH');
  }
  expect(worker.log.map(({ event }) => event)).toEqual([LogEvent.Registered, LogEvent.Ready]);
});

test('without the file of its scripts, or with that of another build, it says so in one sentence and ends', async () => {
  const file = join(folder, 'worker.lua');
  const built = await readFile(file, 'utf8');
  const refusal = async (): Promise<unknown> =>
    await start('--command', 'cat').then(
      () => undefined,
      ({ code, stderr }: { readonly code: number; readonly stderr: string }) => ({ code, stderr }),
    );
  const copy = "copy all files of one build of the worker's image\n";
  const other = {
    code: 1,
    stderr: `millrace-worker: ${file} is not the file that was built with the worker: ${copy}`,
  };
  try {
    const others = [
      '',
      built.slice(0, -1),
      `${built} `.slice(1),
      built.replace('return', 'return '),
      `\n${built}`,
    ];
    for (const content of others) {
      await writeFile(file, content);
      expect(await refusal()).toEqual(other);
    }
    await rm(file);
    const missing = `cannot read its Lua scripts (ENOENT: no such file or directory, open '${file}')`;
    expect(await refusal()).toEqual({ code: 1, stderr: `millrace-worker: ${missing}: ${copy}` });
  } finally {
    await writeFile(file, built);
  }
  expect((await start('--version')).stdout).toMatch(/^\d/);
});

test('it has the metrics of a worker', async () => {
  await using server = await startRedis();
  const port = await freePort();
  const { queue, result } = freshKeys();
  const where = ['--redis', server.url, '--queue', queue, '--result', result];
  await using worker = spawnLaunched([...where, '--command', 'cat', '--http-port', String(port)]);
  await worker.reports(LogEvent.Registered);
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  const declared = (metrics: string): string[] => metrics.match(/^# .*/gm) ?? [];
  expect(declared(await response.text())).toEqual(declared(await text(createWorkerMetrics().text())));
});

test('errors are reported as usual, with their exit code', async () => {
  await expect(start('--module', join(folder, 'nowhere.ts'))).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining('does not exist') as string,
  });
  await expect(start()).rejects.toMatchObject({ code: 2 });
});
