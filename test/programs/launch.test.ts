/** The worker as its image starts it: with compiled code, without it, and with a damaged file. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundleLaunched } from '../../scripts/bundle.ts';

const run = promisify(execFile);
const built = join(import.meta.dirname, '../../dist/bundle');
let folder: string;

beforeAll(async () => {
  await bundleLaunched();
  folder = await mkdtemp(join(tmpdir(), 'millrace-launch-'));
  await mkdir(join(folder, 'compiled'));
  await copyFile(join(built, 'worker.body.js'), join(folder, 'worker.body.js'));
  await copyFile(join(built, 'worker.launch.js'), join(folder, 'worker.js'));
  await copyFile(join(built, 'worker.warm-up.js'), join(folder, 'warm-up.js'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const start = (...args: string[]) => run(process.execPath, [join(folder, 'worker.js'), ...args]);
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

test('errors are reported as usual, with their exit code', async () => {
  await expect(start('--module', join(folder, 'nowhere.ts'))).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining('does not exist') as string,
  });
  await expect(start()).rejects.toMatchObject({ code: 2 });
});
