/** Files as a kubelet mounts a Secret: links to a folder that is replaced as a whole, by one link. */
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface MountedSecret extends AsyncDisposable {
  path(name: string): string;
  /** Replaces all of them. */
  replace(files: Readonly<Record<string, string>>): Promise<void>;
}

export async function mountSecret(files: Readonly<Record<string, string>>): Promise<MountedSecret> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-secret-'));
  let version = 0;
  const replace: MountedSecret['replace'] = async (next) => {
    const name = `..${++version}`;
    await mkdir(join(dir, name));
    for (const [file, text] of Object.entries(next)) await writeFile(join(dir, name, file), text);
    await symlink(name, join(dir, '..data_tmp'));
    await rename(join(dir, '..data_tmp'), join(dir, '..data'));
    await rm(join(dir, `..${version - 1}`), { recursive: true, force: true });
  };
  await replace(files);
  for (const file of Object.keys(files)) await symlink(join('..data', file), join(dir, file));
  return {
    path: (name) => join(dir, name),
    replace,
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}
