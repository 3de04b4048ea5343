/** `npm run check:python`: types, lint and format of the Python package, with tools of pinned versions. Part of `npm run check`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pythonOfPackage } from './python.ts';

const root = resolve(import.meta.dirname, '../..');
const out = join(root, 'out');
const TOOLS = [
  ['ruff', 'check', '--quiet', '--cache-dir', join(out, 'ruff'), '.', '../examples/sweep'],
  ['ruff', 'format', '--quiet', '--check', '--cache-dir', join(out, 'ruff'), '.', '../examples/sweep'],
  ['mypy', '--no-error-summary', '--cache-dir', join(out, 'mypy')],
];

const python = await pythonOfPackage();
await mkdir(out, { recursive: true });
for (const args of TOOLS) {
  const child = spawn(python, ['-m', ...args], { cwd: join(root, 'python'), stdio: 'inherit' });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) process.exitCode = 1;
}
