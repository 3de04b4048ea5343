/** The resources that Millrace touches, and their addresses on the API server. */
import type {
  Deployment,
  EndpointSlice,
  HorizontalPodAutoscaler,
  Job,
  KubeEvent,
  Lease,
  Pod,
  Secret,
  Service,
} from './wire.ts';
import type { WorkerPool } from './workerpool.ts';
import { GROUP, PLURAL, VERSION } from './workerpool.ts';

export interface ObjectRef {
  readonly namespace: string;
  readonly name: string;
}

/** `T` is the type of the resource's objects. */
export interface Resource<T> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  /** Never set: it ties the resource to its type. */
  readonly object?: T;
}

export const POOLS: Resource<WorkerPool> = { group: GROUP, version: VERSION, plural: PLURAL };
export const DEPLOYMENTS: Resource<Deployment> = { group: 'apps', version: 'v1', plural: 'deployments' };
export const JOBS: Resource<Job> = { group: 'batch', version: 'v1', plural: 'jobs' };
export const PODS: Resource<Pod> = { group: '', version: 'v1', plural: 'pods' };
export const SECRETS: Resource<Secret> = { group: '', version: 'v1', plural: 'secrets' };
export const LEASES: Resource<Lease> = { group: 'coordination.k8s.io', version: 'v1', plural: 'leases' };
export const EVENTS: Resource<KubeEvent> = { group: 'events.k8s.io', version: 'v1', plural: 'events' };

export const AUTOSCALERS: Resource<HorizontalPodAutoscaler> = {
  group: 'autoscaling',
  version: 'v2',
  plural: 'horizontalpodautoscalers',
};
export const SERVICES: Resource<Service> = { group: '', version: 'v1', plural: 'services' };
export const ENDPOINT_SLICES: Resource<EndpointSlice> = {
  group: 'discovery.k8s.io',
  version: 'v1',
  plural: 'endpointslices',
};

export type Subresource = 'status' | 'scale' | 'resize';

/** The path of a collection, of all namespaces when none is given. */
export function collectionPath({ group, version, plural }: Resource<unknown>, namespace?: string): string {
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  return namespace === undefined ? `${root}/${plural}` : `${root}/namespaces/${segment(namespace)}/${plural}`;
}

function segment(name: string): string {
  if (name === '' || /^\.{1,2}$|[/%\\]/.test(name))
    throw new RangeError(`"${name}" is not a valid object name`);
  return encodeURIComponent(name);
}

/** Throws `RangeError` for a name that would lead to another path: URLs fold dots, and the API server decodes slashes. */
export function objectPath(resource: Resource<unknown>, ref: ObjectRef, subresource?: Subresource): string {
  const path = `${collectionPath(resource, ref.namespace)}/${segment(ref.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}
