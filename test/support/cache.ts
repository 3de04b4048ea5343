/** What is made once for all runs of the tests: environments, compiled programs, unpacked servers. */
import { access, mkdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Kept between runs, and safe to remove. */
export const cacheFolder = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'millrace-test');

/**
 * The path of `file` in the folder `name` of the cache (of `name` itself, where no file is given). Where it is not there, `make`
 * writes the whole to the path that it is given, which is then moved into place, so that a run that was ended or one beside
 * this leaves no half of it. Throws what `make` throws.
 */
export async function keptInCache(
  name: string,
  make: (path: string) => Promise<void>,
  file = '',
): Promise<string> {
  const place = join(cacheFolder, name);
  const path = join(place, file);
  const isThere = (): Promise<boolean> =>
    access(path).then(
      () => true,
      () => false,
    );
  if (await isThere()) return path;
  await mkdir(cacheFolder, { recursive: true });
  const making = `${place}.${process.pid}`;
  try {
    await make(making);
    await rename(making, place);
  } catch (error) {
    // another run may have been faster
    if (!(await isThere())) throw error;
  } finally {
    await rm(making, { recursive: true, force: true });
  }
  return path;
}
