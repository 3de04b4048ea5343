/** The autoscaler of a simulation, and its inputs: no more than its real counterpart has. */
export interface World {
  /** Tasks in the list. */
  readonly waiting: number;
  /** Tasks inside workers. */
  readonly inFlight: number;
  /** Tasks that ever left the list. */
  readonly taken: number;
  readonly completed: number;
  /** Sum of the service times of all completed tasks, ms. */
  readonly serviceMs: number;
  /** Sum of their squares, ms². */
  readonly squaresMs2: number;
  /** Integral over time of waiting + in flight, task-ms: for autoscalers that see averages. */
  readonly demandMs: number;
  /** Requested replicas, without parked ones; so are the next two. */
  readonly wanted: number;
  /** Existing pods, including those that are terminating. */
  readonly existing: number;
  readonly ready: number;
  readonly parked: number;
}

export interface ScaleRequest {
  /** At work. */
  readonly replicas: number;
  /** As many of the pods that are no longer needed are parked instead of removed; 0 by default. */
  readonly parked?: number;
  /** When to run it next, ms of simulated time. */
  readonly next: number;
  /** Whether the next push to an empty list runs it immediately. */
  readonly wakesOnPush: boolean;
  /** Human-readable. */
  readonly reason?: string;
}

export interface Parking {
  readonly replicas: number;
  /** What a parked pod requests, as a share of what it requests at work. */
  readonly share: number;
}

export interface Autoscaler {
  readonly name: string;
  /**
   * Which pods are removed. `idle`: those without a task first; busy ones finish their tasks and can be called back
   * meanwhile. `any`: as a ReplicaSet chooses them; their tasks must end within the grace period.
   */
  readonly victims: 'idle' | 'any';
  /** Replicas that are ready at the start of the run. */
  readonly initial: number;
  /** Replicas beside those that start with the run, to be parked, and what a parked one costs. */
  readonly parking?: Parking;
  look(now: number, world: World): ScaleRequest;
}
