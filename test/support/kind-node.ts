/** What only the node can do to a container: signals that its processes cannot catch, or never receive. */
import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { eventually } from './eventually.ts';
import type { Release } from './kind-release.ts';

const run = promisify(execFile);

interface Pod {
  readonly status: { readonly containerStatuses?: { readonly containerID?: string }[] };
}

/**
 * Watches the processes of a pod's first container from the node. Once they are being watched, resolves to a function that
 * waits until the first of them is gone, and returns when that was, by the node's clock, ms.
 */
export async function watchDeath(
  release: Release,
  where: { namespace: string; pod: string },
): Promise<() => Promise<number>> {
  const id = await containerId(release, where);
  const script = `
    first=$(grep -ls ${id} /proc/[0-9]*/cgroup | cut -d/ -f3 | sort -n | head -1)
    echo watching
    while grep -qs ${id} /proc/$first/cgroup; do sleep 0.01; done
    date +%s%3N`;
  const child = spawn('docker', ['exec', `${release.cluster.place.name}-control-plane`, 'sh', '-c', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  await lines.next();
  return async () => Number((await lines.next()).value);
}

/**
 * Sends a signal to every process of a pod's first container, from outside of it.
 * @throws when the container does not run.
 */
export async function signalContainer(
  release: Release,
  where: { namespace: string; pod: string },
  signal: 'KILL' | 'STOP' | 'CONT',
): Promise<void> {
  const id = await containerId(release, where);
  // a process's control group carries the container's id
  const script = `
    processes=$(grep -ls ${id} /proc/[0-9]*/cgroup | cut -d/ -f3)
    [ -n "$processes" ] || { echo "no process of ${where.pod}" >&2; exit 1; }
    kill -${signal} $processes`;
  await run('docker', ['exec', `${release.cluster.place.name}-control-plane`, 'sh', '-c', script]);
}

/** The kubelet reports a container a moment after its worker has started. */
async function containerId(
  { cluster }: Release,
  { namespace, pod }: { namespace: string; pod: string },
): Promise<string> {
  return eventually(async () => {
    const found: Pod = JSON.parse(await cluster.kubectl(['get', 'pod', pod, '-n', namespace, '-o', 'json']));
    const id = found.status.containerStatuses?.[0]?.containerID?.split('//')[1];
    if (!id) throw new Error(`pod ${pod} has no container that runs`);
    return id;
  });
}
