/**
 * The calls to Kubernetes that Millrace makes, and no others: what is not here needs no permission either. `client.ts` makes
 * them over the network.
 *
 * Every call is bounded (10 s unless told otherwise) and takes a signal. It rejects with a KubeError, or with the signal's
 * reason when that was aborted. Nothing here remembers anything between calls.
 */
import type { ObjectRef, Resource } from './resources.ts';
import type { CallOptions } from './transport.ts';
import type { Deployment, KubeEvent, KubeObject, Lease, ObjectMeta, Pod, Scale, Secret } from './wire.ts';
import type { WorkerPool, WorkerPoolStatus } from './workerpool.ts';

/** Owns, in server-side apply, what the controller puts into a Deployment. */
export const FIELD_MANAGER = 'millrace-controller';
/** Owns `spec.replicas` of what the controller scales; apart, so that an apply without replicas does not reset them. */
export const SCALE_FIELD_MANAGER = 'millrace-scaler';

export const DELETION_COST = 'controller.kubernetes.io/pod-deletion-cost';

/** What a Deployment of ours is made of. Replicas are not part of it: they change through `/scale` alone. */
export interface DeploymentApply {
  metadata: Pick<ObjectMeta, 'labels' | 'annotations' | 'ownerReferences'> & ObjectRef;
  spec: Omit<NonNullable<Deployment['spec']>, 'replicas'>;
}

export interface DeleteOptions {
  /** Deletes only this incarnation; a 409 (`conflict`) when the name is another object's by now. */
  uid: string;
  propagationPolicy: 'Foreground' | 'Background' | 'Orphan';
}

export interface KubeApi extends Lister {
  pools: {
    /** Merge patch on `/status`: fields that are left out stay, `null` takes one away. Unchanged status is not written. */
    patchStatus(
      ref: ObjectRef,
      status: Nullable<WorkerPoolStatus>,
      options?: CallOptions,
    ): Promise<WorkerPool>;
    /** Replaces the list; `conflict` when the pool is no longer at `resourceVersion`, whose list this one was made from. */
    setFinalizers(
      ref: ObjectRef,
      finalizers: readonly string[],
      resourceVersion: string,
      options?: CallOptions,
    ): Promise<WorkerPool>;
  };
  deployments: {
    get(ref: ObjectRef, options?: CallOptions): Promise<Deployment>;
    /** `apply` for a Deployment that may not exist yet, which then starts with `replicas` instead of the default of 1. */
    create(deployment: DeploymentApply, replicas: number, options?: CallOptions): Promise<Deployment>;
    /**
     * Server-side apply with force: puts back fields of ours that others changed, takes away those that we no longer set, and leaves
     * all others alone, the replicas too. It creates what is not there, with 1 replica: use `create` for that.
     */
    apply(deployment: DeploymentApply, options?: CallOptions): Promise<Deployment>;
    delete(ref: ObjectRef, deletion: DeleteOptions, options?: CallOptions): Promise<void>;
    /**
     * Sets `spec.replicas` through `/scale`, whoever set it before; `conflict` when the Deployment is no longer at
     * `resourceVersion`, where that is given.
     */
    setReplicas(
      ref: ObjectRef,
      replicas: number,
      options?: CallOptions & { readonly resourceVersion?: string | undefined },
    ): Promise<Scale>;
  };
  pods: {
    /**
     * Pods of lower cost are deleted first on scale-in; the default is 0. `null` takes the annotation away. Refused (422) when
     * the name is another pod's by now, where a `uid` is given.
     */
    setDeletionCost(
      ref: ObjectRef,
      cost: number | null,
      options?: CallOptions & { readonly uid?: string | undefined },
    ): Promise<Pod>;
  };
  secrets: {
    get(ref: ObjectRef, options?: CallOptions): Promise<Secret>;
  };
  leases: {
    get(ref: ObjectRef, options?: CallOptions): Promise<Lease>;
    create(lease: Lease, options?: CallOptions): Promise<Lease>;
    /** `conflict` when the lease is no longer at its `metadata.resourceVersion`. */
    update(lease: Lease, options?: CallOptions): Promise<Lease>;
  };
  events: {
    create(event: KubeEvent, options?: CallOptions): Promise<KubeEvent>;
    /** Merge patch of the series: how often the event was seen, and when last. */
    patchSeries(
      ref: ObjectRef,
      series: NonNullable<KubeEvent['series']>,
      options?: CallOptions,
    ): Promise<KubeEvent>;
  };
}

/** Reading many objects, now and as they change; `reflect` in watch.ts is made of it. */
export interface Lister {
  /** One page of a list. Its `resourceVersion` is where a watch goes on. */
  list: <T extends KubeObject>(
    resource: Resource<T>,
    selection: Selection,
    page: PageRequest,
    options?: CallOptions,
  ) => Promise<Page<T>>;
  /**
   * Changes since `resourceVersion`, bookmarks included. The iteration ends when the server ends the watch, and throws a KubeError for an `ERROR` event (`expired` when the version is too old).
   */
  watch: <T extends KubeObject>(
    resource: Resource<T>,
    selection: Selection,
    from: WatchStart,
    options: CallOptions & { signal: AbortSignal },
  ) => AsyncIterable<WatchEvent<T>>;
}

export interface Selection {
  /** All namespaces without it. */
  namespace?: string | undefined;
  labelSelector?: string | undefined;
}

export interface PageRequest {
  /** Most objects that a page may have. */
  limit: number;
  /** From the page before; absent for the first. */
  continue?: string | undefined;
}

export interface WatchStart {
  resourceVersion: string;
  /** The server ends the watch after so many. */
  seconds: number;
}

export interface Page<T> {
  items: T[];
  resourceVersion: string;
  /** Pass it on to get the next page; absent after the last one. */
  continue?: string;
}

export interface WatchEvent<T> {
  /** A `BOOKMARK`'s object holds nothing but a resource version. */
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  object: T;
}

type Nullable<T> = { [K in keyof T]: T[K] | null };
