/**
 * The watches that trigger reconciles: of pools, their Deployments and pods, autoscalers, and adopted Deployments and their pods.
 * Each change results in a pool's key, or in the death of a worker.
 */
import type { KubeApi } from '../../kube/api.ts';
import { KubeError } from '../../kube/errors.ts';
import { AUTOSCALERS, DEPLOYMENTS, JOBS, PODS, POOLS, type Resource } from '../../kube/resources.ts';
import { createSharing } from '../../kube/sharing.ts';
import { reflect, withoutRecords, type ReflectOptions, type Reflector } from '../../kube/watch.ts';
import type { Deployment, HorizontalPodAutoscaler, Job, KubeObject, Pod } from '../../kube/wire.ts';
import { PAUSED, PAUSED_REPLICAS, type WorkerPool } from '../../kube/workerpool.ts';
import { createAdoptedDeployments, type AdoptedDeployments } from '../act/adopted-deployments.ts';
import { autoscalerOf, type KnownAutoscaler, type Claims } from '../act/claims.ts';
import { MANAGED_BY, MANAGER, POOL_LABEL } from '../act/deployment.ts';
import { knownDeployment, type KnownDeployment } from '../act/known-deployment.ts';
import { slimJob } from '../act/jobs/known-job.ts';
import { slimPod } from '../act/known-pod.ts';
import { isOfJob } from '../act/ownership.ts';
import type { ControllerGauges } from '../observe/metrics.ts';
import { followAdopted } from '../recover/adopted-pods.ts';
import { deathsOf, type Death } from '../recover/deaths.ts';

export interface WatchesOptions {
  readonly api: KubeApi;
  /** Empty for all namespaces. */
  readonly namespaces: readonly string[];
  /** Receives pools and autoscalers, and returns the other pools that a change affects. */
  readonly claims: Claims;
  /** The pool has to be reconciled. */
  readonly onPool: (key: string) => void;
  /** A worker of this pool died; `any name`: in an adopted Deployment, where its id may differ from the pod's name. */
  readonly onDeath: (key: string, death: Death, called?: 'any name') => void;
  readonly onError: (error: unknown) => void;
  readonly signal: AbortSignal;
}

export interface Watches {
  readonly pools: ReadonlyMap<string, WorkerPool>;
  readonly deployments: ReadonlyMap<string, KnownDeployment>;
  /** Deployments that pools adopt. */
  readonly adopted: Pick<AdoptedDeployments, 'find'>;
  /** Pods with the label of a pool, by the pool's key. */
  readonly podsOf: (key: string) => readonly Pod[];
  /** Jobs of a pool, by the pool's key; none where they may not be read. */
  readonly jobsOf: (key: string) => readonly Job[];
  /** Watches the pods of an adopted Deployment, by their selector; `undefined` ends the watch. */
  readonly followAdopted: (key: string, selector: string | undefined) => void;
  /** Resolves when everything has been listed. Rejects if the signal aborts before that. */
  readonly synced: Promise<unknown>;
  /** For metrics. */
  readonly stats: ControllerGauges['watches'];
  /** Resolves when the signal was aborted and all watches have ended. */
  stopped(): Promise<void>;
}

export function startWatches(options: WatchesOptions): Watches {
  const { api, namespaces, claims, onPool, onDeath, onError, signal } = options;
  const common = { api, signal, onError, ...(namespaces.length > 0 ? { namespaces } : {}) };
  const onPod = (
    pool: string,
    pod: Pod | undefined,
    previous: Pod | undefined,
    called?: 'any name',
  ): void => {
    for (const death of deathsOf(previous, pod)) onDeath(pool, death, called);
  };
  const share = createSharing();
  const adopted = createAdoptedDeployments({ api, namespaces, onPool, onError, signal });
  const adoptedPods = followAdopted({
    api,
    onError,
    signal,
    onChange: (pool, pod, previous) => onPod(pool, pod, previous, 'any name'),
  });
  const deployments = reflect<Deployment, KnownDeployment>({
    ...common,
    resource: DEPLOYMENTS,
    labelSelector: `${MANAGED_BY}=${MANAGER}`,
    transform: (deployment) => share(knownDeployment(deployment)),
    onChange: (key) => {
      onPool(key);
      adopted.reported(key);
    },
  });
  const pods = watchOfPools(PODS, POOL_LABEL, slimPod, common, (pool, pod, previous) => {
    // in the pod of a Job is no worker
    const either = pod ?? previous;
    if (!either || !isOfJob(either)) onPod(pool, pod, previous);
    onPool(pool);
  });
  const jobsRead = optional(common);
  const jobs = watchOfPools(JOBS, `${MANAGED_BY}=${MANAGER}`, slimJob, { ...common, ...jobsRead }, onPool);
  const autoscalers = watchAutoscalers(common, (key, now) => {
    for (const pool of claims.autoscaler(key, now)) if (pools.store.has(pool)) onPool(pool);
  });
  const pools = reflect<WorkerPool>({
    ...common,
    resource: POOLS,
    transform: (pool) => share(withoutRecords(pool)),
    onChange: (key, pool, previous) => {
      adopted.pool(key, pool);
      if (!asksForReconcile(pool, previous)) return;
      for (const other of [key, ...claims.pool(key, pool)]) onPool(other);
    },
  });

  const measured = { workerpools: pools, deployments, pods: pods.reflector };
  const optionalOnes = [jobs.reflector, autoscalers.reflector];
  const reflectors: readonly Pick<Reflector<unknown>, 'synced' | 'stopped'>[] = Object.values(measured);
  const adoptedKnown = pools.synced.then(() => adopted.begin());
  // told by `synced`
  adoptedKnown.catch(() => undefined);
  return {
    pools: pools.store,
    deployments: deployments.store,
    adopted,
    podsOf: pods.of,
    jobsOf: jobs.of,
    followAdopted: (key, selector) => adoptedPods.follow(key, selector),
    synced: Promise.all([
      ...reflectors.map(({ synced }) => synced),
      jobsRead.known(jobs.reflector),
      autoscalers.known,
      adoptedKnown,
    ]),
    stats: () => {
      const own = Object.entries(measured).map(([name, reflector]) => [name, reflector.stats()] as const);
      const others = Object.entries({
        adopted_deployments: adopted.stats(),
        adopted_pods: adoptedPods.stats(),
      }).flatMap(([name, stats]) => (stats ? [[name, stats] as const] : []));
      return Object.fromEntries([...own, ...others]);
    },
    stopped: async () => {
      await Promise.all([...reflectors, ...optionalOnes].map(({ stopped }) => stopped));
      await Promise.all([adopted.stopped(), adoptedPods.stopped()]);
    },
  };
}

type Common<T extends KubeObject> = Pick<ReflectOptions<T>, 'api' | 'namespaces' | 'signal' | 'onError'>;

/** Objects with a pool's label, by pool. */
function watchOfPools<T extends KubeObject>(
  resource: Resource<T>,
  labelSelector: string,
  transform: (object: T) => T,
  common: Common<T>,
  onChange: (pool: string, now: T | undefined, previous: T | undefined) => void,
): { readonly reflector: Reflector<T>; readonly of: (pool: string) => readonly T[] } {
  const byPool = new Map<string, Map<string, T>>();
  const reflector = reflect<T>({
    ...common,
    resource,
    labelSelector,
    transform,
    onChange: (key, now, previous) => {
      const of = now ?? previous;
      const name = of?.metadata.labels?.[POOL_LABEL];
      if (!of || name === undefined) return;
      const pool = `${of.metadata.namespace}/${name}`;
      const list = byPool.get(pool) ?? new Map<string, T>();
      if (now) list.set(key, now);
      else list.delete(key);
      if (list.size > 0) byPool.set(pool, list);
      else byPool.delete(pool);
      onChange(pool, now, previous);
    },
  });
  return { reflector, of: (pool) => [...(byPool.get(pool)?.values() ?? [])] };
}

/** For a watch that the account may lack the right to: it is not waited for then. */
function optional({ onError }: Pick<Common<KubeObject>, 'onError'>): {
  readonly onError: (error: unknown) => void;
  known(reflector: Pick<Reflector<unknown>, 'synced'>): Promise<void>;
} {
  const known = Promise.withResolvers<void>();
  return {
    onError: (error) => {
      known.resolve();
      if (!(error instanceof KubeError && error.status === 403)) onError?.(error);
    },
    known: ({ synced }) => {
      synced.then(known.resolve, known.resolve);
      return known.promise;
    },
  };
}

/** If autoscalers may not be read, one is detected when it writes: see act/other-writers.ts. */
function watchAutoscalers(
  common: Common<HorizontalPodAutoscaler>,
  onChange: (key: string, now: KnownAutoscaler | undefined) => void,
): { readonly reflector: Reflector<KnownAutoscaler>; readonly known: Promise<void> } {
  const reading = optional(common);
  const reflector = reflect<HorizontalPodAutoscaler, KnownAutoscaler>({
    ...common,
    resource: AUTOSCALERS,
    transform: autoscalerOf,
    onError: reading.onError,
    onChange,
  });
  return { reflector, known: reading.known(reflector) };
}

/** True for a change of the spec, a pause or a deletion, and for a resync; false for our own writes of the status. */
function asksForReconcile(pool: WorkerPool | undefined, previous: WorkerPool | undefined): boolean {
  if (!pool || !previous || pool === previous) return true;
  const [now, old] = [pool.metadata, previous.metadata];
  return (
    old.generation !== now.generation ||
    old.deletionTimestamp !== now.deletionTimestamp ||
    [PAUSED, PAUSED_REPLICAS].some((name) => old.annotations?.[name] !== now.annotations?.[name])
  );
}
