/**
 * `kube/`: all that we know about Kubernetes. It takes objects and watches and returns objects, events and errors with a
 * reason. It knows nothing of Redis, nor of how many replicas are right.
 *
 * KubeApi over the network: each call is one request, written out so that its verb, path and body can be read here.
 */
import type {
  DeleteOptions,
  DeploymentApply,
  KubeApi,
  Page,
  PageRequest,
  Selection,
  WatchEvent,
  WatchStart,
} from './api.ts';
import { DELETION_COST, FIELD_MANAGER, SCALE_FIELD_MANAGER } from './api.ts';
import { KubeError, watchError } from './errors.ts';
import type { ObjectRef, Resource, Subresource } from './resources.ts';
import {
  collectionPath,
  DEPLOYMENTS,
  EVENTS,
  JOBS,
  LEASES,
  objectPath,
  PODS,
  POOLS,
  SECRETS,
} from './resources.ts';
import type { Call, CallOptions, Transport } from './transport.ts';
import type { KubeObject, Pod, Scale } from './wire.ts';

const MERGE_PATCH = 'application/merge-patch+json';
/** Merges containers by their names, where a merge patch would replace the list. */
const STRATEGIC_PATCH = 'application/strategic-merge-patch+json';
/** JSON is YAML. */
const APPLY_PATCH = 'application/apply-patch+yaml';

/** Behind a Deployment's `/scale` is an object of another type. */
const SCALES: Resource<Scale> = { group: 'apps', version: 'v1', plural: 'deployments' };

export function createKubeApi(transport: Transport): KubeApi {
  const get = <T>(resource: Resource<T>, ref: ObjectRef, options?: CallOptions, subresource?: Subresource) =>
    transport.call<T>(on('GET', resource, ref, subresource), options);

  const mergePatch = <T>(
    resource: Resource<T>,
    ref: ObjectRef,
    body: unknown,
    options?: CallOptions,
    subresource?: Subresource,
  ): Promise<T> =>
    transport.call<T>(
      {
        ...on('PATCH', resource, ref, subresource),
        query: { fieldManager: FIELD_MANAGER },
        contentType: MERGE_PATCH,
        body,
      },
      options,
    );

  const create = <T>(
    resource: Resource<T>,
    body: T & { metadata?: { namespace?: string; name?: string } },
    options?: CallOptions,
  ) => {
    const ref = { namespace: body.metadata?.namespace ?? '', name: body.metadata?.name ?? '' };
    return transport.call<T>(
      {
        method: 'POST',
        path: collectionPath(resource, ref.namespace),
        query: { fieldManager: FIELD_MANAGER },
        body,
        what: describe('POST', resource, ref),
      },
      options,
    );
  };

  const apply = <T>(
    resource: Resource<T>,
    ref: ObjectRef,
    fieldManager: string,
    body: object,
    options?: CallOptions,
    subresource?: Subresource,
  ): Promise<T> =>
    transport.call<T>(
      {
        ...on('PATCH', resource, ref, subresource),
        urgent: subresource === 'scale',
        query: { fieldManager, force: true },
        contentType: APPLY_PATCH,
        body,
      },
      options,
    );

  const applyDeployment = (metadata: DeploymentApply['metadata'], spec: object, options?: CallOptions) => {
    const body = { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec };
    return apply(DEPLOYMENTS, metadata, FIELD_MANAGER, body, options);
  };

  const remove = async (
    resource: Resource<unknown>,
    ref: ObjectRef,
    { uid, propagationPolicy }: DeleteOptions,
    options?: CallOptions,
  ): Promise<void> => {
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid }, propagationPolicy };
    await transport.call({ ...on('DELETE', resource, ref), body }, options);
  };

  const setReplicas: KubeApi['deployments']['setReplicas'] = (ref, replicas, options) => {
    const { namespace, name } = ref;
    const { resourceVersion } = options ?? {};
    const body = {
      apiVersion: 'autoscaling/v1',
      kind: 'Scale',
      metadata: { namespace, name, ...(resourceVersion && { resourceVersion }) },
      spec: { replicas },
    };
    return apply(SCALES, ref, SCALE_FIELD_MANAGER, body, options, 'scale');
  };

  /**
   * Replicas that would fall to the default of 1 when an apply leaves them out, because no manager but the apply that created them
   * owns them: they were never changed. `undefined` when they are safe.
   */
  const replicasOnlyOurs = async (
    ref: ObjectRef,
    options?: CallOptions,
  ): Promise<{ replicas: number; resourceVersion: string | undefined } | undefined> => {
    const found = await get(DEPLOYMENTS, ref, options).catch((error: unknown) => {
      if (error instanceof KubeError && error.notFound) return undefined;
      throw error;
    });
    const owners = found?.metadata.managedFields?.filter(({ fieldsV1 }) => {
      const { 'f:spec': fields }: { 'f:spec'?: object } = fieldsV1 ?? {};
      return fields && 'f:replicas' in fields;
    });
    const replicas = found?.spec?.replicas;
    if (replicas === undefined || !owners?.every(({ manager }) => manager === FIELD_MANAGER))
      return undefined;
    return { replicas, resourceVersion: found?.metadata.resourceVersion };
  };

  return {
    pools: {
      patchStatus: (ref, status, options) => mergePatch(POOLS, ref, { status }, options, 'status'),
      setFinalizers: (ref, finalizers, resourceVersion, options) =>
        mergePatch(POOLS, ref, { metadata: { finalizers, resourceVersion } }, options),
    },
    deployments: {
      get: (ref, options) => get(DEPLOYMENTS, ref, options),
      create: ({ metadata, spec }, replicas, options) =>
        applyDeployment(metadata, { ...spec, replicas }, options),
      async apply({ metadata, spec }, options) {
        // Types do not stop a caller that spreads a whole Deployment.
        const { replicas: _, ...rest }: DeploymentApply['spec'] & { replicas?: number } = spec;
        const found = await replicasOnlyOurs(metadata, options);
        // only if the number is unchanged: else another manager has taken it over meanwhile
        if (found) {
          const { replicas, resourceVersion } = found;
          await setReplicas(metadata, replicas, { ...options, resourceVersion });
        }
        return applyDeployment(metadata, rest, options);
      },
      delete: (ref, deletion, options) => remove(DEPLOYMENTS, ref, deletion, options),
      setReplicas,
    },
    jobs: {
      get: (ref, options) => get(JOBS, ref, options),
      create: ({ metadata, spec }, options) =>
        create(JOBS, { apiVersion: 'batch/v1', kind: 'Job', metadata, spec }, options),
      setTtl: (ref, seconds, options) => {
        const { annotations } = options ?? {};
        const spec = { ttlSecondsAfterFinished: seconds };
        return mergePatch(JOBS, ref, { ...(annotations && { metadata: { annotations } }), spec }, options);
      },
      delete: (ref, deletion, options) => remove(JOBS, ref, deletion, options),
    },
    pods: {
      setDeletionCost: (ref, cost, options) => {
        const annotations = { [DELETION_COST]: cost === null ? null : String(cost) };
        const { uid } = options ?? {};
        return mergePatch(PODS, ref, { metadata: { annotations, ...(uid && { uid }) } }, options);
      },
      resize: (ref, uid, container, requests, options) =>
        transport.call<Pod>(
          {
            ...on('PATCH', PODS, ref, 'resize'),
            query: { fieldManager: FIELD_MANAGER },
            contentType: STRATEGIC_PATCH,
            body: {
              metadata: { uid },
              spec: { containers: [{ name: container, resources: { requests } }] },
            },
          },
          options,
        ),
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
      update: (lease, options) => {
        const ref = { namespace: lease.metadata.namespace ?? '', name: lease.metadata.name };
        return transport.call(
          { ...on('PUT', LEASES, ref), query: { fieldManager: FIELD_MANAGER }, urgent: true, body: lease },
          options,
        );
      },
    },
    events: {
      create: (event, options) => create(EVENTS, event, options),
      patchSeries: (ref, series, options) => mergePatch(EVENTS, ref, { series }, options),
    },

    async list<T extends KubeObject>(
      resource: Resource<T>,
      { namespace, labelSelector }: Selection,
      page: PageRequest,
      options?: CallOptions,
    ) {
      const { items, metadata } = await transport.call<{ items: T[]; metadata: ListMeta }>(
        {
          method: 'GET',
          path: collectionPath(resource, namespace),
          query: { labelSelector, limit: page.limit, continue: page.continue },
          what: `list ${resource.plural}${namespace === undefined ? '' : ` in ${namespace}`}`,
        },
        options,
      );
      const { resourceVersion = '', continue: next } = metadata;
      return { items, resourceVersion, ...(next && { continue: next }) } satisfies Page<T>;
    },

    async *watch<T extends KubeObject>(
      resource: Resource<T>,
      { namespace, labelSelector }: Selection,
      from: WatchStart,
      options: CallOptions & { signal: AbortSignal },
    ) {
      const call: Call = {
        method: 'GET',
        path: collectionPath(resource, namespace),
        query: {
          watch: true,
          allowWatchBookmarks: true,
          labelSelector,
          resourceVersion: from.resourceVersion,
          timeoutSeconds: from.seconds,
        },
        what: `watch ${resource.plural}${namespace === undefined ? '' : ` in ${namespace}`}`,
      };
      for await (const line of await transport.stream(call, options)) {
        const event: WatchEvent<T> | { type: 'ERROR'; object: unknown } = JSON.parse(line);
        if (event.type === 'ERROR') throw watchError(call.what, event.object);
        yield event;
      }
    },
  };
}

/** `metav1.ListMeta`, as far as we read it. */
interface ListMeta {
  readonly resourceVersion?: string;
  readonly continue?: string;
}

function on(method: Call['method'], resource: Resource<unknown>, ref: ObjectRef, subresource?: Subresource) {
  return {
    method,
    path: objectPath(resource, ref, subresource),
    what: describe(method, resource, ref, subresource),
  };
}

const verbs = { GET: 'get', POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' } as const;

function describe(
  method: Call['method'],
  resource: Resource<unknown>,
  ref: ObjectRef,
  subresource?: Subresource,
) {
  const what = subresource === undefined ? resource.plural : `${resource.plural}/${subresource}`;
  return `${verbs[method]} ${what} ${ref.namespace}/${ref.name}`;
}
