/** The worker as in its image: the bundle, with the image's flags and the compiled code that the image's build keeps. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { workerProgram, type WorkerSettings } from '../../cli/dev/worker-program.ts';
import { layOutWorker } from '../../scripts/worker-image.ts';
import type { ChildOptions } from './child.ts';

export interface WorkerBundle {
  /** Node's own, such as the size of its young generation. */
  readonly flags: readonly string[];
  /**
   * The program of a worker. `handler` is a file of `bench/workers/`; it is run as JavaScript, because Node's TypeScript support would
   * weigh more than the worker.
   */
  program(settings: WorkerSettings, id: string, handler: string): Promise<ChildOptions>;
}

export async function prepareWorkerBundle(stack: AsyncDisposableStack): Promise<WorkerBundle> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const { flags } = await layOutWorker(folder);
  const args = [...flags, join(folder, 'worker.js')];
  const cache = { NODE_COMPILE_CACHE: join(folder, 'cache') };
  await promisify(execFile)(process.execPath, [...flags, join(folder, 'warm-up.js')], {
    env: { ...process.env, ...cache },
  });
  if ((await stat(join(folder, 'compiled/worker'))).size === 0)
    throw new Error('the build of the image would keep no compiled code of the worker');
  return {
    flags,
    program: async (settings, id, handler) => {
      const module = join(folder, handler.replace(/\.ts$/, '.mjs'));
      await writeFile(
        module,
        stripTypeScriptTypes(await readFile(join(import.meta.dirname, '../workers', handler), 'utf8')),
      );
      const { env } = workerProgram({ ...settings, module }, id, process.env);
      return { args, env: { ...env, ...cache } };
    },
  };
}
