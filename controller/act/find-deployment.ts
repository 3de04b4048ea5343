/** Reads a Deployment that may be missing. */
import type { KubeApi } from '../../kube/api.ts';
import { KubeError } from '../../kube/errors.ts';
import type { ObjectRef } from '../../kube/resources.ts';
import type { Deployment } from '../../kube/wire.ts';

/** `undefined` if it does not exist. */
export async function findDeployment(
  api: KubeApi,
  ref: ObjectRef,
  signal: AbortSignal,
): Promise<Deployment | undefined> {
  try {
    return await api.deployments.get(ref, { signal });
  } catch (error) {
    if (error instanceof KubeError && error.notFound) return undefined;
    throw error;
  }
}
