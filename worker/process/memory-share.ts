/** How much of the memory limit of this process's container is in use. */
import { readFileSync } from 'node:fs';

const CGROUP = '/sys/fs/cgroup';

/**
 * From 0 to 1; `undefined` where there is no limit, or none that can be read (cgroup v2 only). What the kernel can drop at once, files that were
 * read a while ago, does not count, as for the kubelet.
 */
export function memoryShare(folder = CGROUP): number | undefined {
  try {
    const read = (file: string): string => readFileSync(`${folder}/${file}`, 'utf8');
    const limit = Number(read('memory.max'));
    if (!(limit > 0)) return undefined;
    const inactive = /^inactive_file (\d+)$/m.exec(read('memory.stat'))?.[1] ?? '0';
    return Math.max(0, Number(read('memory.current')) - Number(inactive)) / limit;
  } catch {
    return undefined;
  }
}
