/**
 * The controller while it leads: watches on pools, Deployments and pods feed keys to one work queue, the samplers do
 * too, and `reconcile` works on them. Everything ends with the signal.
 */
import type { KubeApi } from '../kube/api.ts';
import { KubeError } from '../kube/errors.ts';
import { createEventRecorder, type Occurrence } from '../kube/events.ts';
import { AUTOSCALERS, DEPLOYMENTS, PODS, POOLS } from '../kube/resources.ts';
import type { Deployment, HorizontalPodAutoscaler, Pod } from '../kube/wire.ts';
import { PAUSED, PAUSED_REPLICAS } from '../kube/workerpool.ts';
import { keyOf, reflect, type Reflector } from '../kube/watch.ts';
import type { HostGuard } from '../queue/connection/address.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';
import { followAdopted } from './recover/adopted-pods.ts';
import { autoscalerOf, createClaims, type Autoscaler } from './act/claims.ts';
import type { PoolSource } from './dashboard/board.ts';
import type { Dashboard } from './dashboard/dashboard.ts';
import { deathsOf, recoveryNote, type Death } from './recover/deaths.ts';
import { MANAGED_BY, MANAGER, POOL_LABEL } from './act/deployment.ts';
import { knownDeployment, type KnownDeployment } from './act/known-deployment.ts';
import { noJournal, type Journal } from './process/journal.ts';
import { createMemoryStore } from './records/memory-store.ts';
import { createSampler, type QueueLink } from './sample/sampler.ts';
import type { ControllerGauges, ControllerMetrics } from './observe/metrics.ts';
import type { Quarantine } from './process/quarantine.ts';
import { createReconcile } from './reconcile/reconcile.ts';
import { createRecovery } from './recover/recover.ts';
import { createRecorder } from './records/recorder.ts';
import { createRedisHub } from './connect/redis-hub.ts';
import { recordOf } from './report/report.ts';
import { slimPod } from './act/known-pod.ts';
import { createWorkQueue } from '../kube/workqueue.ts';

export interface ControllerOptions {
  readonly api: KubeApi;
  /** Empty for all namespaces. */
  readonly namespaces: readonly string[];
  /** The name of this process, for events. */
  readonly instance: string;
  readonly metrics: ControllerMetrics;
  /** Called once everything was listed: where the numbers for metrics are to be had from then on. */
  readonly publish: (gauges: ControllerGauges) => void;
  /** Judges the hosts of Redis that pools name; without one, any will do. */
  readonly guard?: HostGuard | undefined;
  /** Shows the pools to people, where it is wanted. */
  readonly dashboard?: Dashboard | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** What is being done, for the process after this one; and which pools are left out for what was done before. */
  readonly journal?: Pick<Journal, 'begin' | 'during'>;
  readonly quarantine?: Pick<Quarantine, 'leftOutFor'>;
}

const RECONCILERS = 8;
/** And so many more for pools that were woken. */
const WAKERS = 8;
const FLUSH_MS = 2_000;

/** Runs until the signal aborts. Rejects when the first lists could not be had. */
export async function runController(options: ControllerOptions, signal: AbortSignal): Promise<void> {
  const { api, metrics, clock, log, journal = noJournal } = options;
  const namespaces = options.namespaces.length > 0 ? { namespaces: options.namespaces } : {};
  const onError = (error: unknown): void => log.warn({ err: error }, 'a watch failed; it goes on');
  const podsByPool = new Map<string, Map<string, Pod>>();
  const events = createEventRecorder({
    api,
    controller: 'millrace.dev/controller',
    instance: options.instance,
    onError: (error) => log.warn({ err: error }, 'an event could not be written'),
  });

  const claims = createClaims();
  const links = new Map<string, QueueLink>();
  const queuesOf: PoolSource['queuesOf'] = (key) => {
    const link = links.get(key);
    return link && { redis: link.sampler.redis, queues: link.queues };
  };
  const recovery = createRecovery({
    queuesOf,
    onRecovered: (key, death, tasks) => {
      metrics.recovered(death.reason);
      const pool = pools.store.get(key);
      if (pool) recordOf(events, pool, recovered(death, tasks));
      queue.add(key);
    },
    clock,
    log,
    signal,
  });
  function watchDeaths(
    pool: string,
    pod: Pod | undefined,
    previous: Pod | undefined,
    called?: 'any name',
  ): void {
    for (const death of deathsOf(previous, pod)) recovery.died(pool, death, called);
  }
  const adopted = followAdopted({
    api,
    onError,
    signal,
    onChange: (pool, pod, previous) => watchDeaths(pool, pod, previous, 'any name'),
  });

  const deployments = reflect<Deployment, KnownDeployment>({
    api,
    resource: DEPLOYMENTS,
    ...namespaces,
    labelSelector: `${MANAGED_BY}=${MANAGER}`,
    transform: knownDeployment,
    onError,
    signal,
    onChange: (key) => queue.add(key),
  });
  const pods = reflect<Pod>({
    api,
    resource: PODS,
    ...namespaces,
    labelSelector: POOL_LABEL,
    transform: slimPod,
    onError,
    signal,
    onChange: (key, pod, previous) => {
      const of = pod ?? previous;
      const pool = of && `${of.metadata.namespace}/${of.metadata.labels?.[POOL_LABEL]}`;
      if (!pool) return;
      const list = podsByPool.get(pool) ?? new Map<string, Pod>();
      if (pod) list.set(key, pod);
      else list.delete(key);
      if (list.size > 0) podsByPool.set(pool, list);
      else podsByPool.delete(pool);
      watchDeaths(pool, pod, previous);
      queue.add(pool);
    },
  });
  const scalersKnown = Promise.withResolvers<void>();
  // where it may not be read, an autoscaler is noticed when it writes: see act/other-writers.ts
  const autoscalers = reflect<HorizontalPodAutoscaler, Autoscaler>({
    api,
    resource: AUTOSCALERS,
    ...namespaces,
    transform: autoscalerOf,
    onError: (error) => {
      scalersKnown.resolve();
      if (!(error instanceof KubeError && error.status === 403)) onError(error);
    },
    signal,
    onChange: (key, now) => {
      for (const pool of claims.autoscaler(key, now)) if (pools.store.has(pool)) queue.add(pool);
    },
  });
  const pools = reflect({
    api,
    resource: POOLS,
    ...namespaces,
    onError,
    signal,
    onChange: (key, pool, previous) => {
      const old = previous?.metadata;
      const now = pool?.metadata;
      if (
        pool &&
        old &&
        old.generation === now?.generation &&
        old.deletionTimestamp === now?.deletionTimestamp &&
        [PAUSED, PAUSED_REPLICAS].every((name) => old.annotations?.[name] === now?.annotations?.[name]) &&
        pool !== previous
      )
        return;
      for (const other of [key, ...claims.pool(key, pool)]) queue.add(other);
    },
  });

  await using hub = createRedisHub((address) =>
    createSampler({
      address,
      log,
      onLook: (key) => journal.begin(key),
      onSample: (key, woken) => queue.add(key, woken ? 'urgent' : undefined),
    }),
  );
  const memories = createMemoryStore(log, journal);
  const recorder = createRecorder({ clock, log });
  const reconcile = createReconcile({
    api,
    hub,
    guard: options.guard,
    events,
    metrics,
    clock,
    log,
    signal,
    pools: pools.store,
    deployments: deployments.store,
    links,
    memories,
    claims,
    // the time line, metrics and the dashboard listen here
    observed: (pool, observation) => {
      metrics.pools.observed(pool, observation);
      const key = keyOf(pool);
      const link = links.get(key);
      if (link) recorder.observed(key, link, observation);
      shown?.observed(key, observation);
    },
    journal,
    leftOutFor: (key) => options.quarantine?.leftOutFor(key) ?? 0,
    forgotten: (key) => recorder.forget(key),
    followAdopted: (key, selector) => adopted.follow(key, selector),
    podsOf: (key) => [...(podsByPool.get(key)?.values() ?? [])],
  });
  const queue = createWorkQueue({
    concurrency: RECONCILERS,
    reserve: WAKERS,
    clock,
    work: async (key) => {
      const started = performance.now();
      let outcome: 'ok' | 'error' = 'error';
      try {
        const comeBack = await reconcile(key);
        outcome = 'ok';
        return comeBack;
      } finally {
        metrics.reconciled(key, outcome, (performance.now() - started) / 1e3);
      }
    },
    onError: (key, error, retryInMs) => {
      if (signal.aborted) return;
      log.warn(
        {
          pool: key,
          err: error,
          retryInMs,
        },
        'a reconcile failed; it is tried again',
      );
    },
  });

  const reflectors: Record<string, Reflector<unknown>> = { workerpools: pools, deployments, pods };
  autoscalers.synced.then(scalersKnown.resolve, scalersKnown.resolve);
  await Promise.all([...Object.values(reflectors).map(({ synced }) => synced), scalersKnown.promise]);
  using shown = options.dashboard?.attach({
    pools: pools.store,
    sampled: (key) => links.get(key)?.sampler.latest(key),
    queuesOf,
  });
  options.publish({
    workqueueDepth: () => queue.depth,
    redisServers: () => hub.size,
    watches: () => {
      const own = Object.entries(reflectors).map(([name, reflector]) => [name, reflector.stats()] as const);
      const others = adopted.stats();
      return Object.fromEntries(others ? [...own, ['adopted_pods', others] as const] : own);
    },
  });
  log.info({ pools: pools.store.size }, 'watching pools');
  await queue.run(signal);
  // an API server or a Redis that does not answer must not hold up the end
  const flushed = [events.flush(), memories.flush(), recorder[Symbol.asyncDispose]()];
  await Promise.race([Promise.all(flushed), clock.sleep(FLUSH_MS)]);
  await Promise.all([...Object.values(reflectors), autoscalers].map((reflector) => reflector.stopped));
  await adopted.stopped();
}

function recovered({ worker, words, why }: Death, tasks: number): Occurrence {
  const type = why === 'lost' ? 'Warning' : 'Normal';
  return { type, reason: 'WorkerRecovered', action: 'Recover', note: recoveryNote(worker, words, tasks) };
}
