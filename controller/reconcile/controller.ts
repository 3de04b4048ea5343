/**
 * The controller while it leads: watches of pools, Deployments and pods add keys to one work queue, and so do the samplers;
 * `reconcile` processes them. Everything ends with the signal.
 */
import type { KubeApi } from '../../kube/api.ts';
import { createEventRecorder, type EventRecorder, type Occurrence } from '../../kube/events.ts';
import { keyOf } from '../../kube/watch.ts';
import type { HostGuard } from '../../queue/connection/address.ts';
import type { Clock } from '../../runtime/clock.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import type { Logger } from '../../runtime/log.ts';
import { createClaims } from '../act/claims.ts';
import type { PoolSource } from '../dashboard/board.ts';
import type { Dashboard } from '../dashboard/dashboard.ts';
import type { External } from '../external/external.ts';
import { recoveryNote, type Death } from '../recover/deaths.ts';
import { noJournal, type Journal } from '../process/journal.ts';
import { createMemoryStore } from '../records/memory-store.ts';
import type { QueueLink } from '../sample/sampler.ts';
import { createSampler } from '../sample/sampler.ts';
import type { ControllerGauges, ControllerMetrics } from '../observe/metrics.ts';
import type { Quarantine } from '../process/quarantine.ts';
import { createReconcile, type Reconcile } from './reconcile.ts';
import { startWatches } from './watches.ts';
import { createRecovery } from '../recover/recover.ts';
import { createRecorder } from '../records/recorder.ts';
import { createRedisHub } from '../connect/redis-hub.ts';
import { recordEvent } from '../report/announce.ts';
import { createWorkQueue, type WorkQueue } from '../../kube/workqueue.ts';

export interface ControllerOptions {
  readonly api: KubeApi;
  /** Empty for all namespaces. */
  readonly namespaces: readonly string[];
  /** The name of this process, for events. */
  readonly instance: string;
  readonly metrics: ControllerMetrics;
  /** Called once everything has been listed; the argument is the source of the gauges from then on. */
  readonly publish: (gauges: ControllerGauges) => void;
  /** Checks the Redis hosts that pools name; without one, all are allowed. */
  readonly guard?: HostGuard | undefined;
  /** `undefined` if it is not enabled. */
  readonly dashboard?: Dashboard | undefined;
  /** Answers other autoscalers; `undefined` if that is not enabled. */
  readonly external?: External | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** The work in progress, for the next process, and the pools that are left out because of earlier crashes. */
  readonly journal?: Pick<Journal, 'begin' | 'during'>;
  readonly quarantine?: Pick<Quarantine, 'leftOutFor'>;
}

const RECONCILERS = 8;
/** Reserved for pools that were woken: each is raised, and then waits until others are before its status is written. */
const WAKERS = 32;
const FLUSH_TIMEOUT_MS = 2_000;

/** Runs until the signal aborts. Rejects if the signal aborts before everything has been listed. */
export async function runController(options: ControllerOptions, signal: AbortSignal): Promise<void> {
  const { api, namespaces, metrics, clock, log, journal = noJournal } = options;
  const events = createEvents(options);
  const claims = createClaims();
  const links = new Map<string, QueueLink>();
  const queuesOf: PoolSource['queuesOf'] = (key) => {
    const link = links.get(key);
    if (!link) return undefined;
    const { sampler, queues, records, source } = link;
    return { redisOf: sampler.redisOf, queues, records, source };
  };
  const recovery = createRecovery({
    queuesOf,
    onRecovered: (key, death, tasks) => {
      metrics.recovered(death.reason);
      const pool = watches.pools.get(key);
      if (pool) recordEvent(events, pool, recovered(death, tasks));
      queue.add(key);
    },
    clock,
    log,
    signal,
  });
  const watches = startWatches({
    api,
    namespaces,
    claims,
    onPool: (key) => queue.add(key),
    onDeath: (key, death, called) => recovery.died(key, death, called),
    onError: (error) => log.warn({ err: error }, 'a watch failed; retrying'),
    signal,
  });
  const onSample = (key: string, woken: boolean): void => {
    queue.add(key, woken ? 'urgent' : undefined);
    external?.sampled(key);
  };
  await using hub = createRedisHub((address) =>
    createSampler({ address, log, onRead: (key) => journal.begin(key), onSample }),
  );
  const memories = createMemoryStore(log, journal);
  const recorder = createRecorder({ clock, log });
  const { pools, deployments, adopted, podsOf, jobsOf, followAdopted } = watches;
  const reconcile = createReconcile({
    api,
    hub,
    guard: options.guard,
    events,
    metrics,
    clock,
    log,
    signal,
    backlog: () => queue.backlog,
    reconcileLast: (key) => queue.add(key, 'last'),
    journal,
    pools,
    deployments,
    adopted,
    podsOf,
    jobsOf,
    followAdopted,
    links,
    memories,
    claims,
    // for the timeline, metrics, the dashboard and other autoscalers
    observed: (pool, observation) => {
      metrics.pools.observed(pool, observation);
      const key = keyOf(pool);
      const link = links.get(key);
      if (link) recorder.observed(key, link, observation);
      shown?.observed(key, observation);
      external?.observed(key, observation);
    },
    leftOutFor: (key) => options.quarantine?.leftOutFor(key) ?? 0,
    forgotten: (key) => recorder.forget(key),
  });
  const queue = createQueue(options, reconcile, signal);

  await watches.synced;
  const sampled: PoolSource['sampled'] = (key) => links.get(key)?.sampler.latest(key);
  using shown = options.dashboard?.attach({ pools, sampled, queuesOf });
  using external = options.external?.attach({ pools, sampled });
  options.publish({
    workqueueDepth: () => queue.depth,
    redisServers: () => hub.size,
    watches: watches.stats,
  });
  log.info({ event: LogEvent.Watching, pools: pools.size }, 'watching pools');
  await queue.run(signal);
  // an API server or a Redis that does not answer must not delay the end
  const flushed = [events.flush(), memories.flush(), recorder[Symbol.asyncDispose]()];
  await Promise.race([Promise.all(flushed), clock.sleep(FLUSH_TIMEOUT_MS)]);
  await watches.stopped();
}

function createEvents({ api, instance, log }: ControllerOptions): EventRecorder {
  return createEventRecorder({
    api,
    controller: 'millrace.dev/controller',
    instance,
    onError: (error) => log.warn({ err: error }, 'failed to write an event'),
  });
}

/** Calls `reconcile` and measures its duration. */
function createQueue(
  { metrics, clock, log }: ControllerOptions,
  reconcile: Reconcile,
  signal: AbortSignal,
): WorkQueue {
  return createWorkQueue({
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
      if (!signal.aborted) log.warn({ pool: key, err: error, retryInMs }, 'reconcile failed; retrying');
    },
  });
}

function recovered({ worker, message, why }: Death, tasks: number): Occurrence {
  const type = why === 'lost' ? 'Warning' : 'Normal';
  return { type, reason: 'WorkerRecovered', action: 'Recover', note: recoveryNote(worker, message, tasks) };
}
