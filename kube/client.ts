/**
 * `kube/`: all that we know about Kubernetes. It takes objects and watches and returns objects, events and errors with a
 * reason. It knows nothing of Redis, nor of how many replicas are right.
 *
 * KubeApi over the network: each call is one request of requests.ts, unless it says otherwise.
 */
import type { DeploymentApply, KubeApi } from './api.ts';
import { DELETION_COST, FIELD_MANAGER, SCALE_FIELD_MANAGER } from './api.ts';
import { KubeError } from './errors.ts';
import type { ObjectRef, Resource } from './resources.ts';
import { DEPLOYMENTS, EVENTS, JOBS, LEASES, PODS, POOLS, SECRETS } from './resources.ts';
import { createRequests, type Requests } from './requests.ts';
import type { CallOptions, Transport } from './transport.ts';
import type { Deployment, Scale } from './wire.ts';

/** Behind a Deployment's `/scale` is an object of another type. */
const SCALES: Resource<Scale> = { group: 'apps', version: 'v1', plural: 'deployments' };

export function createKubeApi(transport: Transport): KubeApi {
  const requests = createRequests(transport);
  const { get, create, patch } = requests;
  return {
    pools: {
      patchStatus: (ref, status, options) =>
        patch(POOLS, ref, { status }, { ...options, subresource: 'status' }),
      setFinalizers: (ref, finalizers, resourceVersion, options) =>
        patch(POOLS, ref, { metadata: { finalizers, resourceVersion } }, options),
    },
    deployments: deploymentCalls(requests),
    jobs: {
      get: (ref, options) => get(JOBS, ref, options),
      create: ({ metadata, spec }, options) =>
        create(JOBS, { apiVersion: 'batch/v1', kind: 'Job', metadata, spec }, options),
      setTtl: (ref, seconds, { annotations, ...options } = {}) => {
        const spec = { ttlSecondsAfterFinished: seconds };
        return patch(JOBS, ref, { ...(annotations && { metadata: { annotations } }), spec }, options);
      },
      delete: (ref, deletion, options) => requests.delete(JOBS, ref, deletion, options),
    },
    pods: {
      setDeletionCost: (ref, cost, { uid, ...options } = {}) => {
        const annotations = { [DELETION_COST]: cost === null ? null : String(cost) };
        return patch(PODS, ref, { metadata: { annotations, ...(uid && { uid }) } }, options);
      },
      resize: (ref, uid, container, requested, options) => {
        const containers = [{ name: container, resources: { requests: requested } }];
        const body = { metadata: { uid }, spec: { containers } };
        return patch(PODS, ref, body, { ...options, subresource: 'resize', type: 'strategic' });
      },
      canResize: async (options) => {
        const call = { method: 'GET', path: '/api/v1', what: 'get the resources of v1' } as const;
        const { resources } = await transport.call<{ resources: readonly { name: string }[] }>(call, options);
        return resources.some(({ name }) => name === 'pods/resize');
      },
    },
    secrets: { get: (ref, options) => get(SECRETS, ref, options) },
    leases: {
      get: (ref, options) => get(LEASES, ref, options),
      create: (lease, options) => create(LEASES, lease, options),
      update: (lease, options) => requests.update(LEASES, lease, options),
    },
    events: {
      create: (event, options) => create(EVENTS, event, options),
      patchSeries: (ref, series, options) => patch(EVENTS, ref, { series }, options),
    },
    list: requests.list,
    watch: requests.watch,
  };
}

function deploymentCalls(requests: Requests): KubeApi['deployments'] {
  const applyAll = (
    metadata: DeploymentApply['metadata'],
    spec: object,
    options?: CallOptions,
  ): Promise<Deployment> => {
    const body = { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec };
    return requests.apply(DEPLOYMENTS, metadata, body, options);
  };
  const setReplicas: KubeApi['deployments']['setReplicas'] = (
    ref,
    replicas,
    { resourceVersion, ...options } = {},
  ) => {
    const { namespace, name } = ref;
    const metadata = { namespace, name, ...(resourceVersion && { resourceVersion }) };
    const body = { apiVersion: 'autoscaling/v1', kind: 'Scale', metadata, spec: { replicas } };
    const how = { subresource: 'scale', fieldManager: SCALE_FIELD_MANAGER } as const;
    return requests.apply(SCALES, ref, body, { ...options, ...how });
  };
  return {
    get: (ref, options) => requests.get(DEPLOYMENTS, ref, options),
    create: ({ metadata, spec }, replicas, options) => applyAll(metadata, { ...spec, replicas }, options),
    async apply({ metadata, spec }, options) {
      // Types do not stop a caller that spreads a whole Deployment.
      const { replicas: _, ...rest }: DeploymentApply['spec'] & { replicas?: number } = spec;
      const found = await replicasOnlyOurs(requests, metadata, options);
      // only if the number is unchanged: else another manager has taken it over meanwhile
      if (found) {
        const { replicas, resourceVersion } = found;
        await setReplicas(metadata, replicas, { ...options, resourceVersion });
      }
      return applyAll(metadata, rest, options);
    },
    delete: (ref, deletion, options) => requests.delete(DEPLOYMENTS, ref, deletion, options),
    setReplicas,
  };
}

/**
 * Replicas that would fall to the default of 1 when an apply leaves them out, because no manager but the apply that created them
 * owns them: they were never changed. `undefined` when they are safe.
 */
async function replicasOnlyOurs(
  requests: Requests,
  ref: ObjectRef,
  options?: CallOptions,
): Promise<{ replicas: number; resourceVersion: string | undefined } | undefined> {
  const found = await requests.get(DEPLOYMENTS, ref, options).catch((error: unknown) => {
    if (error instanceof KubeError && error.notFound) return undefined;
    throw error;
  });
  const owners = found?.metadata.managedFields?.filter(({ fieldsV1 }) => {
    const { 'f:spec': fields }: { 'f:spec'?: object } = fieldsV1 ?? {};
    return fields && 'f:replicas' in fields;
  });
  const replicas = found?.spec?.replicas;
  if (replicas === undefined || !owners?.every(({ manager }) => manager === FIELD_MANAGER)) return undefined;
  return { replicas, resourceVersion: found?.metadata.resourceVersion };
}
