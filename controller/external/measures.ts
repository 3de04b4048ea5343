/**
 * `controller/external/` takes samples, observations and the requests of other autoscalers, an HPA or KEDA, and returns what these
 * scale by. It scales nothing and decides nothing, and no stage knows that it is there.
 *
 * What a pool tells them: three metrics, each known or unknown. An autoscaler holds its replicas when it receives an error, and
 * scales in when it receives a zero: so what is not known, or not anymore, is an error with a reason.
 */
import { countsFinished } from '../../kube/source-spec.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { Observation } from '../observe/observation.ts';
import type { Sampled } from '../sample/sampled.ts';

/** The names are an interface: HPAs and ScaledObjects have them. */
export const Metric = {
  /** Waiting, in the hands of workers, and due. */
  Tasks: 'millrace_tasks',
  /** Replicas that the pool's own rule requires. */
  DesiredReplicas: 'millrace_desired_replicas',
  /** Age of the oldest waiting task. */
  OldestWait: 'millrace_oldest_wait_seconds',
} as const;
export type Metric = (typeof Metric)[keyof typeof Metric];

export const metrics: readonly Metric[] = Object.values(Metric);

export const isMetric = (name: string): name is Metric => (metrics as readonly string[]).includes(name);

export type Measured =
  | { readonly kind: 'known'; readonly value: number }
  | { readonly kind: 'unknown'; readonly why: string };

export interface Measures {
  /** By key, `namespace/name`. */
  readonly pools: ReadonlyMap<string, WorkerPool>;
  of(key: string, metric: Metric): Measured;
}

/** An idle pool is observed every 30 s: by then, three observations were missed. */
const STALE_MS = 90_000;

export interface MeasuresSource {
  readonly pools: ReadonlyMap<string, WorkerPool>;
  /** The last sample of the pool's queues; `undefined` while their Redis is not known. */
  readonly sampled: (key: string) => Sampled | undefined;
  /** The last observation of the pool. */
  readonly latest: (key: string) => Observation | undefined;
  /** ms of the clock of `Observation.elapsed`. */
  readonly elapsed: () => number;
}

export function createMeasures({ pools, sampled, latest, elapsed }: MeasuresSource): Measures {
  function of(key: string, metric: Metric): Measured {
    const pool = pools.get(key);
    const now = sampled(key);
    if (!pool || !now) return unknown('its queues have not been read yet');
    if (now.kind === 'unknown') return unknown(now.why);
    const { waiting, inFlight, due } = now.sample;
    if (metric === Metric.Tasks) return { kind: 'known', value: waiting + inFlight + due };
    if (metric === Metric.OldestWait && pool.spec.source && !countsFinished(pool.spec.source))
      return unknown('its source does not count the tasks that were taken, so waits are not known');
    const last = latest(key);
    // a pool that cannot be decided says why in its status
    if (!last?.known) return unknown(notDecided(pool));
    const age = elapsed() - last.elapsed;
    if (age > STALE_MS) return unknown(`its last decision is ${Math.round(age / 1e3)} s old`);
    return { kind: 'known', value: metric === Metric.OldestWait ? last.oldestMs / 1e3 : last.desired };
  }
  return { pools, of };
}

function notDecided({ status }: WorkerPool): string {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  return ready?.status === 'False' ? ready.message : 'nothing has been decided for it yet';
}

function unknown(why: string): Measured {
  return { kind: 'unknown', why };
}
