/** The autoscaler of a simulation, and the world that it sees: no more than its real counterpart does. */
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
  /** Requested replicas. */
  readonly wanted: number;
  /** Pods that exist, those that are terminating included. */
  readonly existing: number;
  readonly ready: number;
}

export interface ScaleRequest {
  readonly replicas: number;
  /** When to run it next, ms of simulated time. */
  readonly next: number;
  /** Whether the next push to an empty list runs it immediately. */
  readonly wakesOnPush: boolean;
  /** Human-readable. */
  readonly reason?: string;
}

export interface Autoscaler {
  readonly name: string;
  /**
   * Which pods go. `idle`: those without a task first, and busy ones finish what they run and can be called back
   * meanwhile. `any`: as a ReplicaSet picks them, and whatever they run must end within the grace period.
   */
  readonly victims: 'idle' | 'any';
  /** Replicas that are up when the run begins. */
  readonly initial: number;
  look(now: number, world: World): ScaleRequest;
}
