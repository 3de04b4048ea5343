/**
 * The calls that the controller makes to Kubernetes, and no others: what is not listed here needs no permission. `client.ts`
 * implements them over the network.
 *
 * Every call is bounded (10 s by default) and takes a signal. It rejects with a KubeError, or with the signal's reason once that is
 * aborted. No state is kept between calls.
 */
import type { ObjectRef, Resource } from './resources.ts';
import type { CallOptions } from './transport.ts';
import type {
  Deployment,
  Job,
  KubeEvent,
  KubeObject,
  Lease,
  ObjectMeta,
  Pod,
  Scale,
  Secret,
} from './wire.ts';
import type { WorkerPool, WorkerPoolStatus } from './workerpool.ts';

/** Owns, in server-side apply, what the controller puts into a Deployment. */
export const FIELD_MANAGER = 'millrace-controller';
/** Owns `spec.replicas` of what the controller scales; apart, so that an apply without replicas does not reset them. */
export const SCALE_FIELD_MANAGER = 'millrace-scaler';

export const DELETION_COST = 'controller.kubernetes.io/pod-deletion-cost';

/** The content of a Deployment of ours, without its replicas: they change through `/scale` alone. */
export interface DeploymentApply {
  readonly metadata: Pick<ObjectMeta, 'labels' | 'annotations' | 'ownerReferences'> & ObjectRef;
  readonly spec: Omit<NonNullable<Deployment['spec']>, 'replicas'>;
}

/** A Job that is to be created. */
export interface NewJob {
  readonly metadata: Pick<ObjectMeta, 'labels' | 'annotations' | 'ownerReferences'> & ObjectRef;
  readonly spec: NonNullable<Job['spec']>;
}

export interface DeleteOptions {
  /** Deletes only this incarnation; a 409 (`conflict`) when the name is another object's by now. */
  readonly uid: string;
  readonly propagationPolicy: 'Foreground' | 'Background' | 'Orphan';
}

export interface KubeApi extends Lister {
  readonly pools: {
    /** Merge patch on `/status`: omitted fields stay, `null` removes one. An unchanged status is not written. */
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
  readonly deployments: {
    get(ref: ObjectRef, options?: CallOptions): Promise<Deployment>;
    /** `apply` for a Deployment that may not exist yet, which then starts with `replicas` instead of the default of 1. */
    create(deployment: DeploymentApply, replicas: number, options?: CallOptions): Promise<Deployment>;
    /**
     * Server-side apply with force: restores fields of ours that others changed, removes those that we no longer set, and leaves
     * all others alone, including the replicas. It creates a missing Deployment with 1 replica: use `create` for that.
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
  readonly jobs: {
    get(ref: ObjectRef, options?: CallOptions): Promise<Job>;
    create(job: NewJob, options?: CallOptions): Promise<Job>;
    /** How long Kubernetes keeps the Job after its end, s; `null` for as long as it takes. `annotations` are added. */
    setTtl(
      ref: ObjectRef,
      seconds: number | null,
      options?: CallOptions & { readonly annotations?: Readonly<Record<string, string>> },
    ): Promise<Job>;
    delete(ref: ObjectRef, deletion: DeleteOptions, options?: CallOptions): Promise<void>;
  };
  readonly pods: {
    /**
     * Pods of lower cost are deleted first on scale-in; the default is 0. `null` takes the annotation away. Refused (422) when
     * the name is another pod's by now, where a `uid` is given.
     */
    setDeletionCost(
      ref: ObjectRef,
      cost: number | null,
      options?: CallOptions & { readonly uid?: string | undefined },
    ): Promise<Pod>;
    /**
     * Changes what one container of a running pod requests, through `/resize`; what is not named stays. The kubelet carries it out
     * later, or says in the pod's conditions why not. `notFound` also where the API server has no such resource; `conflict` when the
     * name is another pod's by now.
     */
    resize(
      ref: ObjectRef,
      uid: string,
      container: string,
      requests: Readonly<Record<string, string>>,
      options?: CallOptions,
    ): Promise<Pod>;
    /** Whether the API server can resize pods in place: Kubernetes 1.33 or newer. */
    canResize(options?: CallOptions): Promise<boolean>;
  };
  readonly secrets: {
    get(ref: ObjectRef, options?: CallOptions): Promise<Secret>;
  };
  readonly leases: {
    get(ref: ObjectRef, options?: CallOptions): Promise<Lease>;
    create(lease: Lease, options?: CallOptions): Promise<Lease>;
    /** `conflict` when the lease is no longer at its `metadata.resourceVersion`. */
    update(lease: Lease, options?: CallOptions): Promise<Lease>;
  };
  readonly events: {
    create(event: KubeEvent, options?: CallOptions): Promise<KubeEvent>;
    /** Merge patch of the series: how often the event was seen, and when last. */
    patchSeries(
      ref: ObjectRef,
      series: NonNullable<KubeEvent['series']>,
      options?: CallOptions,
    ): Promise<KubeEvent>;
  };
}

/** Reading many objects, now and as they change; `reflect` in watch.ts is built on it. */
export interface Lister {
  /** One page of a list. Its `resourceVersion` is where a watch goes on. */
  readonly list: <T extends KubeObject>(
    resource: Resource<T>,
    selection: Selection,
    page: PageRequest,
    options?: CallOptions,
  ) => Promise<Page<T>>;
  /**
   * Changes since `resourceVersion`, bookmarks included. The iteration ends when the server ends the watch, and throws a KubeError
   * for an `ERROR` event (`expired` when the version is too old).
   */
  readonly watch: <T extends KubeObject>(
    resource: Resource<T>,
    selection: Selection,
    from: WatchStart,
    options: CallOptions & { signal: AbortSignal },
  ) => AsyncIterable<WatchEvent<T>>;
}

export interface Selection {
  /** All namespaces without it. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
}

export interface PageRequest {
  /** Maximum number of objects in a page. */
  readonly limit: number;
  /** From the page before; absent for the first. */
  readonly continue?: string | undefined;
}

export interface WatchStart {
  readonly resourceVersion: string;
  /** The server ends the watch after this many seconds. */
  readonly seconds: number;
}

export interface Page<T> {
  readonly items: T[];
  readonly resourceVersion: string;
  /** Pass it on to get the next page; absent after the last one. */
  readonly continue?: string;
}

export interface WatchEvent<T> {
  /** A `BOOKMARK`'s object holds nothing but a resource version. */
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: T;
}

type Nullable<T> = { [K in keyof T]: T[K] | null };
