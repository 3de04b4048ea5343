/** What only the node can do to a container: signals that its processes cannot catch, or never hear of. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Release } from './kind-release.ts';

const run = promisify(execFile);

interface Pod {
  readonly status: { readonly containerStatuses?: { readonly containerID?: string }[] };
}

/**
 * Sends a signal to every process of a pod's first container, from outside of it.
 * @throws when the container does not run.
 */
export async function signalContainer(
  { cluster }: Release,
  { namespace, pod }: { namespace: string; pod: string },
  signal: 'KILL' | 'STOP' | 'CONT',
): Promise<void> {
  const found: Pod = JSON.parse(await cluster.kubectl(['get', 'pod', pod, '-n', namespace, '-o', 'json']));
  const id = found.status.containerStatuses?.[0]?.containerID?.split('//')[1];
  if (!id) throw new Error(`pod ${pod} has no container that runs`);
  // a process's control group carries the container's id
  const script = `
    processes=$(grep -ls ${id} /proc/[0-9]*/cgroup | cut -d/ -f3)
    [ -n "$processes" ] || { echo "no process of ${pod}" >&2; exit 1; }
    kill -${signal} $processes`;
  await run('docker', ['exec', `${cluster.place.name}-control-plane`, 'sh', '-c', script]);
}
