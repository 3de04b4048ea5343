/**
 * Requests about objects of any resource: verb, path and body as the API server wants them. Which of them the controller makes is
 * the business of client.ts.
 */
import type { DeleteOptions, Lister, Page, PageRequest, Selection, WatchEvent, WatchStart } from './api.ts';
import { FIELD_MANAGER } from './api.ts';
import { watchError } from './errors.ts';
import { collectionPath, objectPath, type ObjectRef, type Resource, type Subresource } from './resources.ts';
import type { Call, CallOptions, Transport } from './transport.ts';
import type { KubeObject } from './wire.ts';

/** How a patch is combined with the object. */
const PATCH_TYPES = {
  merge: 'application/merge-patch+json',
  /** Merges containers by their names, where a merge patch would replace the list. */
  strategic: 'application/strategic-merge-patch+json',
};
/** JSON is YAML. */
const APPLY_PATCH = 'application/apply-patch+yaml';

/** `T`: the type of the object that the path leads to, of a subresource that of the subresource. */
export interface Requests extends Lister {
  readonly get: <T>(resource: Resource<T>, ref: ObjectRef, options?: CallOptions) => Promise<T>;
  /** `body` has namespace and name. */
  readonly create: <T>(resource: Resource<T>, body: T & Named, options?: CallOptions) => Promise<T>;
  /** Replaces the object, before requests that are not urgent. */
  readonly update: <T>(resource: Resource<T>, body: T & Named, options?: CallOptions) => Promise<T>;
  readonly patch: <T>(
    resource: Resource<T>,
    ref: ObjectRef,
    body: object,
    options?: PatchOptions,
  ) => Promise<T>;
  /** Server-side apply, which takes over fields of other managers. */
  readonly apply: <T>(
    resource: Resource<T>,
    ref: ObjectRef,
    body: object,
    options?: ApplyOptions,
  ) => Promise<T>;
  readonly delete: (
    resource: Resource<unknown>,
    ref: ObjectRef,
    deletion: DeleteOptions,
    options?: CallOptions,
  ) => Promise<void>;
}

interface Named {
  readonly metadata?: { readonly namespace?: string; readonly name?: string };
}

export interface PatchOptions extends CallOptions {
  readonly subresource?: Subresource;
  /** `merge` by default. */
  readonly type?: keyof typeof PATCH_TYPES;
}

export interface ApplyOptions extends CallOptions {
  readonly subresource?: Subresource;
  /** FIELD_MANAGER by default. */
  readonly fieldManager?: string;
}

export function createRequests(transport: Transport): Requests {
  return {
    get: (resource, ref, options) => transport.call(on('GET', resource, ref), options),
    create: (resource, body, options) => {
      const ref = refOf(body);
      const path = collectionPath(resource, ref.namespace);
      return transport.call(
        { ...on('POST', resource, ref), path, query: { fieldManager: FIELD_MANAGER }, body },
        options,
      );
    },
    update: (resource, body, options) =>
      transport.call(
        { ...on('PUT', resource, refOf(body)), query: { fieldManager: FIELD_MANAGER }, urgent: true, body },
        options,
      ),
    patch: (resource, ref, body, { subresource, type = 'merge', ...options } = {}) =>
      transport.call(
        {
          ...on('PATCH', resource, ref, subresource),
          query: { fieldManager: FIELD_MANAGER },
          contentType: PATCH_TYPES[type],
          body,
        },
        options,
      ),
    apply: (resource, ref, body, { subresource, fieldManager = FIELD_MANAGER, ...options } = {}) =>
      transport.call(
        {
          ...on('PATCH', resource, ref, subresource),
          urgent: subresource === 'scale',
          query: { fieldManager, force: true },
          contentType: APPLY_PATCH,
          body,
        },
        options,
      ),
    delete: async (resource, ref, { uid, propagationPolicy }, options) => {
      const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid }, propagationPolicy };
      await transport.call({ ...on('DELETE', resource, ref), body }, options);
    },
    list: (resource, selection, page, options) => list(transport, resource, selection, page, options),
    watch: (resource, selection, from, options) => watch(transport, resource, selection, from, options),
  };
}

async function list<T extends KubeObject>(
  transport: Transport,
  resource: Resource<T>,
  { namespace, labelSelector }: Selection,
  page: PageRequest,
  options?: CallOptions,
): Promise<Page<T>> {
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
  return { items, resourceVersion, ...(next && { continue: next }) };
}

async function* watch<T extends KubeObject>(
  transport: Transport,
  resource: Resource<T>,
  { namespace, labelSelector }: Selection,
  from: WatchStart,
  options: CallOptions & { signal: AbortSignal },
): AsyncGenerator<WatchEvent<T>> {
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
}

/** `metav1.ListMeta`, as far as we read it. */
interface ListMeta {
  readonly resourceVersion?: string;
  readonly continue?: string;
}

function refOf({ metadata }: Named): ObjectRef {
  return { namespace: metadata?.namespace ?? '', name: metadata?.name ?? '' };
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
