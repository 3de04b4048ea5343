/** The dependencies of all reconciles. */
import type { Job, Pod } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { HostGuard } from '../../queue/connection/address.ts';
import type { AdoptedDeployments } from '../act/adopted-deployments.ts';
import type { Claims } from '../act/claims.ts';
import type { KnownDeployment } from '../act/known-deployment.ts';
import type { ConnectDeps } from '../connect/connect.ts';
import type { RedisHub } from '../connect/redis-hub.ts';
import type { ObserveDeps } from '../observe/observer.ts';
import type { Journal } from '../process/journal.ts';
import type { MemoryStore } from '../records/memory-store.ts';
import type { ReportDeps, Reporter } from '../report/report.ts';
import type { QueueLink } from '../sample/sampler.ts';

export interface ReconcileDeps extends ReportDeps, ObserveDeps {
  readonly pools: ReadonlyMap<string, WorkerPool>;
  readonly deployments: ReadonlyMap<string, KnownDeployment>;
  /** Deployments that pools adopt. */
  readonly adopted: Pick<AdoptedDeployments, 'find'>;
  /** Pods of a pool, by the pool's key. */
  readonly podsOf: (key: string) => readonly Pod[];
  /** Jobs of a pool, by the pool's key. */
  readonly jobsOf: (key: string) => readonly Job[];
  /** Conflicting claims to Deployments and queues. */
  readonly claims: Claims;
  readonly hub: RedisHub;
  readonly guard?: HostGuard | undefined;
  /** The link to each pool's queues: written here, read by others. */
  readonly links: Map<string, QueueLink>;
  /** The memories of pools, which outlive this process. */
  readonly memories: MemoryStore;
  /** Records the pools in progress, in case one of them crashes the process. */
  readonly journal: Pick<Journal, 'begin' | 'during'>;
  /** How much longer the pool is left out because a controller crashed at it, ms; 0 if it is not. */
  readonly leftOutFor: (key: string) => number;
  /** Called when a pool is deleted, or being deleted. */
  readonly forgotten: (key: string) => void;
  /** Watches the pods of an adopted Deployment, by their selector; `undefined` ends the watch. */
  readonly followAdopted: (key: string, selector: string | undefined) => void;
}

export interface ReconcileContext extends ReconcileDeps {
  readonly reporter: Reporter;
  readonly connecting: ConnectDeps;
}
