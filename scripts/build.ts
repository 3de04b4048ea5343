/**
 * Builds what is published: JavaScript and types under dist/, the Lua scripts beside the module that reads them, and in
 * dist/bin what the package's commands start.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { writePage } from './page.ts';

/**
 * A command of the package. A program whose modules an older Node.js cannot even link would end with a riddle, so the
 * version is looked at before the first of them is loaded.
 */
const command = (program: string): string => `#!/usr/bin/env node
import '../runtime/node-version.cjs';
await import('../${program}/main.js');
`;

for (const folder of ['bin', 'runtime', 'queue', 'kube', 'controller', 'simulate', 'worker', 'cli']) {
  rmSync(`dist/${folder}`, { recursive: true, force: true });
}
const { status } = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
await writePage('dist/dashboard');
for (const script of globSync('queue/scripts/*.lua')) cpSync(script, `dist/${script}`);
cpSync('worker/process/init.sh', 'dist/worker/process/init.sh');
cpSync('runtime/node-version.cjs', 'dist/runtime/node-version.cjs');
mkdirSync('dist/bin');
const commands = { millrace: 'cli', 'millrace-controller': 'controller', 'millrace-worker': 'worker' };
for (const [name, program] of Object.entries(commands))
  writeFileSync(`dist/bin/${name}.js`, command(program), { mode: 0o755 });
