/** What a worker does, as Redis knows it. Pure. */
/** A worker as Redis knows it. */
export interface WorkerLoad {
  /** As of its last turn: idle, busy, draining or drained. Of several queues, that of one that has not drained. */
  readonly state: string;
  readonly inFlight: number;
  /** Ids of the connections on which it waits for tasks, in the server. */
  readonly blockers: readonly number[];
  /** `namespace/name` of the pool that it says it is of; empty for none. */
  readonly pool: string;
}

/** By worker id; a worker that is not registered has no entry. */
export type WorkerLoads = ReadonlyMap<string, WorkerLoad>;

/** What two say of themselves, as if they were one: of several queues, or of several workers that go together. */
export function mergeLoads(one: WorkerLoad, other: WorkerLoad): WorkerLoad {
  return {
    state: one.state === 'drained' ? other.state : one.state,
    inFlight: one.inFlight + other.inFlight,
    blockers: [...one.blockers, ...other.blockers],
    pool: one.pool === '' ? other.pool : one.pool,
  };
}
