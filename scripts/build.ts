/**
 * Builds what is published: JavaScript and types under dist/, the Lua scripts beside the module that reads them, and in
 * dist/bin what the package's commands start.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { writePage } from './page.ts';
import { runScript } from './script.ts';

const FOLDERS = ['bin', 'runtime', 'queue', 'kube', 'controller', 'simulate', 'worker', 'cli'];
const COMMANDS = { millrace: 'cli', 'millrace-controller': 'controller', 'millrace-worker': 'worker' };

/**
 * A command of the package. An older Node.js could not even link a program's modules and would end with a syntax error, so the
 * version is checked before the first of them is loaded.
 */
const command = (program: string): string => `#!/usr/bin/env node
import '../runtime/node-version.cjs';
await import('../${program}/main.js');
`;

async function build(): Promise<void> {
  for (const folder of FOLDERS) rmSync(`dist/${folder}`, { recursive: true, force: true });
  const { status } = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
  if (status !== 0) throw new Error('tsc failed: its messages are above');
  await writePage('dist/dashboard');
  for (const script of globSync('queue/scripts/**/*.lua')) cpSync(script, `dist/${script}`);
  cpSync('worker/process/init.sh', 'dist/worker/process/init.sh');
  cpSync('runtime/node-version.cjs', 'dist/runtime/node-version.cjs');
  mkdirSync('dist/bin');
  for (const [name, program] of Object.entries(COMMANDS))
    writeFileSync(`dist/bin/${name}.js`, command(program), { mode: 0o755 });
}

await runScript('build.ts', 'Builds the npm package under dist/.', build);
