/**
 * What is scaled, behind one small interface: a Deployment in a cluster, or a set of local processes.
 */
export interface Replicas {
  /** Replicas asked for now. */
  readonly wanted: number;
  /** Replicas that exist, whatever state they are in. */
  readonly existing: number;
  readonly ready: number;
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
}

export interface Target {
  observe(): Promise<Replicas>;
  /** The replicas one by one. Asked for only when some are to go, or are not to go any more. */
  members(): Promise<readonly Member[]>;
  /** Asks for more replicas: so many in all. */
  raise(replicas: number): Promise<void>;
  /** Asks for fewer: so many in all, without these members of the last `members()`; those that go already are among them. */
  remove(ids: readonly string[], replicas: number): Promise<void>;
}
