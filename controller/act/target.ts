/**
 * What is scaled, behind one small interface: a Deployment in a cluster, or a set of local processes.
 */
export interface Replicas {
  /** Replicas asked for now. */
  readonly wanted: number;
  /** Replicas that exist, whatever state they are in. */
  readonly existing: number;
  readonly ready: number;
  /** Those that are being shut down and may still work, which `existing` and `ready` leave out; `undefined` where nobody counts them. */
  readonly terminating?: number | undefined;
  /** Why replicas do not come up, in words; `undefined` when they do. */
  readonly trouble: string | undefined;
  /** Old replicas are being replaced by new ones: which of them go next is not for us to say. */
  readonly rollingOut: boolean;
}

/** One replica; those that are being shut down are none any more. */
export interface Member {
  /** Worker id; in a cluster the pod's name. */
  readonly id: string;
  readonly ready: boolean;
  /** When it was created, ms. */
  readonly created: number;
  /** `remove` was told to take it, and it is still there. */
  readonly going: boolean;
  /** Its addresses, where it has any; several members may share one. */
  readonly addresses?: readonly string[];
}

/** The replicas one by one, and the counts that somebody else made of them: they agree, or one of them is late. */
export interface Members extends Pick<Replicas, 'wanted' | 'existing' | 'rollingOut'> {
  readonly all: readonly Member[];
  /** Ids of replicas that are being shut down and are still there. */
  readonly ending: readonly string[];
  /** The counts are of what is asked for now, not of what was asked for before. */
  readonly settled: boolean;
  /** Read for this call, not remembered from earlier: it may be acted on. */
  readonly fresh: boolean;
}

export interface Target {
  observe(): Promise<Replicas>;
  /** Asked for only when some are to go, or are not to go any more. With `fresh` nothing that was remembered is used. */
  members(how?: 'fresh'): Promise<Members>;
  /** Asks for more replicas: so many in all. */
  raise(replicas: number): Promise<void>;
  /**
   * Asks for fewer: so many in all, without these members; those that go already are among them. `false` when something has
   * changed since the last fresh `members`, which it needs: nothing was lowered then.
   */
  remove(ids: readonly string[], replicas: number): Promise<boolean>;
  /** Takes back what `remove` said of members that stay after all. */
  keep(ids: readonly string[]): Promise<void>;
}

/** The target does not exist, or belongs to somebody else: nothing can be scaled until a person acts. */
export class NoTarget extends Error {
  override name = 'NoTarget';
}
