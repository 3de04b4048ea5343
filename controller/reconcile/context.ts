/** What every reconcile works with, whichever pool it is for. */
import type { Pod } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { HostGuard } from '../../queue/connection/address.ts';
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
  /** Pods of a pool, by the pool's key. */
  readonly podsOf: (key: string) => readonly Pod[];
  /** Who else wants what a pool wants. */
  readonly claims: Claims;
  readonly hub: RedisHub;
  readonly guard?: HostGuard | undefined;
  /** Where each pool's queue is: filled in here, for others to read. */
  readonly links: Map<string, QueueLink>;
  /** What pools have learned, beyond the life of this process. */
  readonly memories: MemoryStore;
  /** Which pool is being worked on is written down, for the case that it ends the process. */
  readonly journal: Pick<Journal, 'begin' | 'during'>;
  /** For how much longer the pool is left out, ms, because a controller ended at it before; 0 for not at all. */
  readonly leftOutFor: (key: string) => number;
  /** Called when a pool is gone, or going. */
  readonly forgotten: (key: string) => void;
  /** Watches the pods of a Deployment that a pool adopts, by their selector; `undefined` ends that. */
  readonly followAdopted: (key: string, selector: string | undefined) => void;
}

export interface ReconcileContext extends ReconcileDeps {
  readonly reporter: Reporter;
  readonly connecting: ConnectDeps;
}
