/** The load of workers, as recorded in Redis. Pure. */
export interface WorkerLoad {
  /** As of its last turn: idle, busy, draining or drained. Of several queues, that of one that has not drained. */
  readonly state: string;
  readonly inFlight: number;
  /** The server's ids of the connections on which it waits for tasks. */
  readonly blockers: readonly number[];
  /** `namespace/name` of the pool that it reports; empty for none. */
  readonly pool: string;
}

/** By worker id; a worker that is not registered has no entry. */
export type WorkerLoads = ReadonlyMap<string, WorkerLoad>;

/** Combines two loads: of one worker in several queues, or of several workers in one pod. */
export function mergeLoads(one: WorkerLoad, other: WorkerLoad): WorkerLoad {
  return {
    state: one.state === 'drained' ? other.state : one.state,
    inFlight: one.inFlight + other.inFlight,
    blockers: [...one.blockers, ...other.blockers],
    pool: one.pool === '' ? other.pool : one.pool,
  };
}
