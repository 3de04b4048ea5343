/** Builds what is published: JavaScript and types under dist/, the Lua scripts beside the module that reads them. */
import { spawnSync } from 'node:child_process';
import { cpSync, globSync, rmSync } from 'node:fs';
import { writePage } from './page.ts';

for (const folder of ['runtime', 'queue', 'kube', 'controller', 'simulate', 'worker', 'cli']) {
  rmSync(`dist/${folder}`, { recursive: true, force: true });
}
const { status } = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
await writePage('dist/dashboard');
for (const script of globSync('queue/*.lua')) cpSync(script, `dist/${script}`);
cpSync('worker/init.sh', 'dist/worker/init.sh');
