/** The published package: packed, unpacked next to its dependencies, and used by another program, with types. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRedis, type RedisServer } from '../support/redis.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');
let home: string;
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
  home = mkdtempSync(join(tmpdir(), 'millrace-package-'));
  const modules = join(home, 'node_modules');
  mkdirSync(join(modules, 'millrace'), { recursive: true });
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', home], { cwd: root });
  const [packed] = Object.values(
    JSON.parse(stdout.slice(stdout.search(/^[[{]/m))) as Record<string, { filename: string }>,
  );
  await run('tar', [
    '-xzf',
    join(home, packed?.filename ?? ''),
    '--strip-components=1',
    '-C',
    join(modules, 'millrace'),
  ]);
  for (const name of readdirSync(join(root, 'node_modules')).filter((entry) => !entry.startsWith('.')))
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  writeFileSync(join(home, 'package.json'), '{ "type": "module" }');
});

afterAll(async () => {
  rmSync(home, { recursive: true, force: true });
  await redis[Symbol.asyncDispose]();
});

test('the queue library and the types of a handler, from another program', async () => {
  writeFileSync(
    join(home, 'client.ts'),
    `import { openQueue, TaskFailed, type Queue } from 'millrace/queue';
     import type { Handler } from 'millrace/worker';
     export const handler: Handler = async (task, { id, attempt }) => \`\${String(task)} \${id} \${attempt}\`;
     await using queue: Queue = openQueue({ redis: process.argv[2] ?? '' });
     const id = await queue.enqueue({ n: 1 });
     const { waiting } = await queue.inspect();
     // @ts-expect-error a result is text unless asked for otherwise
     const wrong: Promise<number> = queue.result(id, { timeoutMs: 1 });
     await wrong.catch((error: unknown) => console.log(waiting, error instanceof TaskFailed, (error as Error).name));`,
  );
  writeFileSync(
    join(home, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        module: 'nodenext',
        target: 'es2024',
        lib: ['es2024', 'esnext.disposable'],
        types: ['node'],
        strict: true,
        noEmit: true,
        skipLibCheck: true,
      },
      files: ['client.ts'],
    }),
  );
  await run(join(root, 'node_modules/.bin/tsc'), ['-p', home], { cwd: home });
  const { stdout } = await run(process.execPath, ['client.ts', redis.url], { cwd: home });
  expect(stdout).toBe('1 false ResultTimeout\n');
});

test.each(['millrace', 'kubectl-millrace', 'millrace-worker', 'millrace-controller'])(
  '%s runs',
  async (name) => {
    const { bin, version } = (
      await import(join(home, 'node_modules/millrace/package.json'), { with: { type: 'json' } })
    ).default as { bin: Record<string, string>; version: string };
    const { stdout } = await run(process.execPath, [
      join(home, 'node_modules/millrace', bin[name] ?? ''),
      '--version',
    ]);
    expect(stdout).toBe(`${version}\n`);
  },
);

test.each(['millrace', 'millrace-worker', 'millrace-controller'])(
  '%s ends with one sentence where Node.js is too old',
  async (name) => {
    const old = join(home, 'old.cjs');
    writeFileSync(old, "Object.defineProperty(process, 'versions', { value: { node: '20.20.2' } });");
    await expect(
      run(process.execPath, [
        '-r',
        old,
        join(home, `node_modules/millrace/dist/bin/${name}.js`),
        '--version',
      ]),
    ).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^Millrace needs Node\.js 24 [^\n]*\n$/),
    });
  },
);
