/**
 * `cli/cluster/` takes flags and a kubeconfig and returns an API server, and what is installed there. It knows nothing of
 * Redis.
 *
 * A cluster for one command, from a kubeconfig; loaded only by commands that need one.
 */
import type { KubeConfig } from '@kubernetes/client-node';
import { KubeError } from '../../kube/errors.ts';
import { connectionOf, loadKubeconfig } from '../../kube/kubeconfig.ts';
import { readObject } from '../../kube/read.ts';
import { POOLS } from '../../kube/resources.ts';
import { createTransport, type Transport } from '../../kube/transport.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { UsageError } from '../../runtime/program.ts';
import type { ClusterFlags } from './cluster-flags.ts';

export interface Cluster extends Disposable {
  readonly config: KubeConfig;
  readonly transport: Transport;
  /** The flag's, else the context's, else `default`. */
  readonly namespace: string;
}

/** Throws `Error` in one line if the kubeconfig has no such cluster. Sends no request yet. */
export function openCluster({ kubeconfig, kubeconfigs, context, namespace }: ClusterFlags): Cluster {
  const config = loadKubeconfig({ path: kubeconfig, files: kubeconfigs, context });
  const connection = connectionOf(config);
  const transport = createTransport(connection);
  return {
    config,
    transport,
    namespace: namespace ?? connection.namespace ?? 'default',
    [Symbol.dispose]: () => transport[Symbol.dispose](),
  };
}

/** The pool of `name` or `namespace/name`. Throws `Error` in one line with the remedy if it cannot be read. */
export async function readPoolOf(cluster: Cluster, name: string): Promise<WorkerPool> {
  const parts = name.split('/');
  if (parts.length > 2 || parts.includes(''))
    throw new UsageError(`"${name}" names no pool: write name, or namespace/name`);
  const [namespace = '', own = ''] = parts.length === 2 ? parts : [cluster.namespace, ...parts];
  const pool = await readObject(cluster.transport, POOLS, { namespace, name: own }).catch(
    (error: unknown) => {
      throw explained(error);
    },
  );
  if (!pool)
    throw new Error(
      `there is no pool "${own}" in namespace "${namespace}": see millrace pools --all-namespaces`,
    );
  return pool;
}

/** An error of a request to the API server, with the remedy. */
export function explained(error: unknown): unknown {
  if (!(error instanceof KubeError)) return error;
  if (error.reason === 'Unreachable' || error.reason === 'Timeout')
    return new Error(`the cluster is unreachable (${error.message}): check --context and the network`, {
      cause: error,
    });
  if (error.status === 401)
    return new Error(`the cluster rejected your credentials (${error.message}): log in again`, {
      cause: error,
    });
  return error;
}
