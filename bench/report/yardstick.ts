/**
 * What processor time on this machine is worth: that of a fixed piece of work in a Node of its own. Processor times of two runs
 * are compared after division by it, so that a run on another machine, or beside other work that shares the caches, says something.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Processor time of each of a few pieces, µs. */
export async function measureYardstick(signal: AbortSignal): Promise<number[]> {
  const program = join(import.meta.dirname, 'yardstick-work.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [program], { signal });
  return JSON.parse(stdout) as number[];
}
