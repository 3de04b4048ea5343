/**
 * The target of scaling, behind one small interface: a Deployment in a cluster, or a set of local processes.
 */
import type { PodSize } from './parked/size.ts';

export interface Replicas {
  /** The replicas that are requested now. */
  readonly wanted: number;
  /** Existing replicas, in any state. */
  readonly existing: number;
  readonly ready: number;
  /**
   * Replicas that are shutting down and may still work, which `existing` and `ready` leave out; `undefined` where they are not
   * counted.
   */
  readonly terminating?: number | undefined;
  /** Why replicas do not start, human-readable; `undefined` if they do. */
  readonly trouble: string | undefined;
  /** A rollout is replacing old replicas by new ones, so we cannot choose which ones are removed. */
  readonly rollingOut: boolean;
  /** Of a pool that parks replicas. */
  readonly parked?: ParkedCounts | undefined;
}

/** Replicas that exist and are not at their full size: they are no part of what a decision counts on. */
export interface ParkedCounts {
  readonly parked: number;
  /** Of them, those that are ready. */
  readonly ready: number;
  /** Their full size was requested, and is not there: they work at the parked one meanwhile. */
  readonly stuck: number;
}

/** One replica; a replica that is shutting down is no longer a member. */
export interface Member {
  /** Worker id; in a cluster the pod's name. */
  readonly id: string;
  readonly ready: boolean;
  /** When it was created, ms. */
  readonly created: number;
  /** It was passed to `remove`, and still exists. */
  readonly going: boolean;
  /** Its addresses, where it has any; several members may share one. */
  readonly addresses?: readonly string[];
  /** Where the pool parks replicas. */
  readonly size?: PodSize;
}

/** The individual replicas, and the counts that others report of them: if the two differ, one of them is out of date. */
export interface Members extends Pick<Replicas, 'wanted' | 'existing' | 'rollingOut'> {
  readonly all: readonly Member[];
  /** Ids of replicas that are shutting down. */
  readonly ending: readonly string[];
  /** The counts are for the current request, not for an earlier one. */
  readonly settled: boolean;
  /** Read for this call, not cached: it may be acted on. */
  readonly fresh: boolean;
}

export interface Target {
  observe(): Promise<Replicas>;
  /** Called only if members are to be removed, or no longer are. `fresh` bypasses all caches. */
  members(how?: 'fresh'): Promise<Members>;
  /** Requests more replicas: `replicas` in all. `false` if there are others than `observe` returned: nothing was raised. */
  raise(replicas: number): Promise<boolean>;
  /**
   * Requests fewer: `replicas` in all, without these members, which include those that are being removed already. Requires a
   * fresh `members` before. `false` if something has changed since then: nothing was lowered.
   */
  remove(ids: readonly string[], replicas: number): Promise<boolean>;
  /** Revokes `remove` for members that stay after all. */
  keep(ids: readonly string[]): Promise<void>;
  /** Only of a pool that parks replicas. */
  readonly parking?: ParkingTarget | undefined;
}

export interface ParkingTarget {
  /** Replicas to keep in all; 0 while none can be parked. */
  readonly replicas: number;
  /**
   * Requests this size for members, and resolves to those for which it was accepted. What the API server refuses is remembered, and
   * reported in the pool's conditions.
   */
  resize(ids: readonly string[], to: 'full' | 'parked'): Promise<readonly string[]>;
}

/** The target does not exist, or belongs to somebody else: nothing can be scaled until a person acts. */
export class NoTarget extends Error {
  override name = 'NoTarget';
}
