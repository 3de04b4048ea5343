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
}

export interface Target {
  observe(): Promise<Replicas>;
  /**
   * Asks for so many replicas. `holding` tells how many tasks each worker holds, by worker id: on the way down, those
   * with the fewest go first.
   */
  scale(replicas: number, holding: ReadonlyMap<string, number>): Promise<void>;
}
