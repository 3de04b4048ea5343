/** The worker as in its image, in a folder: for whoever runs it without Docker. */
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { bundleLaunched } from './bundle.ts';

const root = resolve(import.meta.dirname, '..');

export interface WorkerImage {
  /** Flags of Node. */
  readonly flags: readonly string[];
}

/** Bundles the worker and puts what its Dockerfile copies into `folder`, which exists, without compiled code. Rejects as `bundleLaunched` does. */
export async function layOutWorker(folder: string): Promise<WorkerImage> {
  await bundleLaunched();
  const dockerfile = await readFile(join(root, 'images/worker.Dockerfile'), 'utf8');
  await mkdir(join(folder, 'compiled'));
  const copies = dockerfile.matchAll(/^COPY (dist\/bundle\/(\S+)) \/usr\/local\/lib\/millrace\/(\S*)$/gm);
  for (const [, from = '', name = '', renamed = ''] of copies)
    await copyFile(join(root, from), join(folder, renamed || name));
  const entryPoint = /^ENTRYPOINT (\[.*\])$/m.exec(dockerfile);
  const command = JSON.parse(entryPoint?.[1] ?? '[]') as string[];
  // behind the container's first process
  return { flags: command.slice(command.indexOf('node') + 1, -1) };
}
