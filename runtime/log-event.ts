/** The field `event` of a log line, for programs that read the log. The text of a message is for people and may change. */
export const LogEvent = {
  /** The worker is registered with all its queues and takes tasks: once in its life. */
  Ready: 'ready',
  /** It is registered with one of them, for the first time or again. */
  Registered: 'registered',
  Stopping: 'stopping',
  /** It has lost its lease, and what it ran is dropped. */
  Fenced: 'fenced',
  /** What an earlier process of the same name held is back in the queue. */
  EarlierLife: 'earlier-life',
  /** The lease of another worker has ended, and its tasks are back in the queue. */
  LeaseEnded: 'lease-ended',
  TaskFailed: 'task-failed',
  /** Redis does not store the outcome of a task now; it is sent again. */
  OutcomeDeferred: 'outcome-deferred',
  /** Redis refuses the outcome of a task, which becomes a dead letter. */
  OutcomeDead: 'outcome-dead',
  /** Redis did not answer a turn, or refused it; it is sent again. */
  TurnFailed: 'turn-failed',
  /** A connection to Redis failed: `trouble` (queue/connection/redis-errors.ts) and `code`. */
  RedisFailed: 'redis-failed',
  /** Credentials were replaced, and Redis accepts the new ones; or it refuses them. */
  CredentialsRenewed: 'credentials-renewed',
  CredentialsRefused: 'credentials-refused',
  /** The server that runs the tasks cannot be reached, so that they wait; and it can again. */
  HandlerUnreachable: 'handler-unreachable',
  HandlerReachable: 'handler-reachable',
  /** No program can be started for want of processes, memory or file descriptors; and they can again. */
  StartsFail: 'starts-fail',
  StartsSucceed: 'starts-succeed',
  /** A worker has found how many tasks it should run at a time: `slots` and `slotsWhy`. */
  SlotsFound: 'slots-found',
  NotReplicated: 'not-replicated',
  ReplicatedAgain: 'replicated-again',
  /** A controller leads from now on, or no longer. */
  Leading: 'leading',
  NotLeading: 'not-leading',
  /** The leader has listed everything and reconciles. */
  Watching: 'watching',
  /** The previous process of a controller crashed while it worked on `pools`. */
  Crashed: 'crashed',
} as const;
export type LogEvent = (typeof LogEvent)[keyof typeof LogEvent];
