/**
 * Kubernetes objects as they travel: JSON. The generated types of @kubernetes/client-node have `Date`s where the API server
 * sends strings; we send and keep what the server sent, without the (de)serialiser that would convert it.
 */
import type {
  EventsV1Event,
  V1Deployment,
  V1EndpointSlice,
  V1Job,
  V1Lease,
  V1ObjectMeta,
  V1Pod,
  V1PodFailurePolicy,
  V1PodTemplateSpec,
  V1Scale,
  V1Secret,
  V1Service,
  V2HorizontalPodAutoscaler,
} from '@kubernetes/client-node';

/** `T` as JSON: dates (RFC 3339) are strings. */
export type Wire<T> = T extends Date ? string : T extends object ? { [K in keyof T]: Wire<T[K]> } : T;

export type ObjectMeta = Wire<V1ObjectMeta>;
export type PodTemplateSpec = Wire<V1PodTemplateSpec>;
export type PodFailurePolicy = Wire<V1PodFailurePolicy>;

/** What every object has once the server stored it. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta & { readonly name: string };
}

type Stored<T extends { readonly metadata?: V1ObjectMeta }> = Omit<Wire<T>, 'metadata'> & KubeObject;

export type Deployment = Stored<V1Deployment>;
export type Job = Stored<V1Job>;
export type Pod = Stored<V1Pod>;
export type Secret = Stored<V1Secret>;
export type Lease = Stored<V1Lease>;
export type Scale = Stored<V1Scale>;
export type Service = Stored<V1Service>;
export type HorizontalPodAutoscaler = Stored<V2HorizontalPodAutoscaler>;
export type EndpointSlice = Stored<V1EndpointSlice>;
/** Of `events.k8s.io/v1`; not called `Event`, which is something else in JavaScript. */
export type KubeEvent = Stored<EventsV1Event>;

/** Kubernetes' `MicroTime`, of a time in ms since the epoch: RFC 3339 with exactly six digits after the second. */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
