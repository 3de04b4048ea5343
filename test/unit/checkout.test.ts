/** What a newcomer meets first: an older Node.js is named in one sentence, and setup.sh asks for no more than is needed. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import config from '../../vitest.config.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const manifest = JSON.parse(read('package.json')) as {
  engines: { node: string };
  scripts: Record<string, string>;
};

interface Failed {
  readonly code: number;
  readonly stderr: string;
}

/** What becomes of the check where Node.js has this version. */
async function checked(version: string): Promise<Failed | 'passed'> {
  const script = `Object.defineProperty(process, 'versions', { value: { node: '${version}' } });
    Object.defineProperty(process, 'version', { value: 'v${version}' });
    require('./runtime/node-version.cjs')`;
  return run(process.execPath, ['-e', script], { cwd: root }).then(
    () => 'passed',
    (error: unknown) => error as Failed,
  );
}

test('the version that is needed is the same wherever it stands', () => {
  const needed = /^var NEEDED = (\d+);$/m.exec(read('runtime/node-version.cjs'))?.[1];
  expect(manifest.engines.node).toBe(`>=${needed}`);
  expect(read('.nvmrc')).toBe(`${needed}\n`);
});

test.each(['0.12.18', '20.20.2', '23.11.1'])('Node.js %s is reported in one sentence', async (version) => {
  const failed = await checked(version);
  expect(failed).toMatchObject({ code: 1 });
  expect((failed as Failed).stderr).toMatch(
    /^Millrace needs Node\.js 24 or newer, and this is v[\d.]+ \(.*\.\n$/,
  );
  expect((failed as Failed).stderr).toContain(`v${version} (${process.execPath})`);
});

test.each(['24.0.0', '100.1.0'])('Node.js %s is new enough', async (version) => {
  expect(await checked(version)).toBe('passed');
});

test('every npm script that Node.js runs begins with the check', () => {
  const programs = Object.entries(manifest.scripts).filter(([, command]) => /\.(ts|js)\b/.test(command));
  expect(programs.length).toBeGreaterThan(5);
  for (const [name, command] of programs)
    expect(command, name).toMatch(/^node -r \.\/runtime\/node-version\.cjs /);
  expect(read('vitest.config.ts')).toMatch(/^import '\.\/runtime\/node-version\.cjs';\n/m);
});

async function packages(...parts: string[]): Promise<string[]> {
  const { stdout } = await run('bash', ['test/setup.sh', '--list', ...parts], { cwd: root });
  return stdout.split('\n').filter((line) => line !== '');
}

test('setup.sh knows what each project of vitest needs, and without a project needs them all', async () => {
  const projects = (config.test?.projects ?? []).map(
    (project) => (project as { test: { name: string } }).test.name,
  );
  expect(projects).toContain('unit');
  const each = await Promise.all(['check', ...projects].map((project) => packages(project)));
  expect((await packages()).toSorted()).toEqual([...new Set(each.flat())].toSorted());
});

test('unit tests need nothing, and the fast ones neither a browser nor shells', async () => {
  expect(await packages('unit')).toEqual([]);
  const fast = /setup\.sh ([a-z ]+) &&/.exec(manifest.scripts['test:fast'] ?? '')?.[1]?.split(' ') ?? [];
  expect(fast).toEqual(['check', 'unit', 'redis']);
  expect(await packages(...fast)).toContain('redis-server');
  for (const large of ['chromium', 'prometheus', 'zsh', 'fish', 'tmux'])
    expect(await packages(...fast)).not.toContain(large);
});

test('a part that there is not is named, with those that there are', async () => {
  await expect(run('bash', ['test/setup.sh', 'unti'], { cwd: root })).rejects.toMatchObject({
    code: 2,
    stderr:
      "setup: there is no part 'unti': choose from check unit redis newest-redis newest-valkey programs sources kube browser chaos kind\n",
  });
});
