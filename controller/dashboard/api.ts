/**
 * The protocol between the dashboard's server and its page: JSON over HTTP, and changes to the same values as server-sent
 * events. Types only. Times are ms since the epoch, durations ms.
 *
 * `GET api/pools` and `GET api/pools/<namespace>/<name>` return a snapshot (`Overview`, `PoolPage`) with a `seq`;
 * `GET api/events?since=<seq>[&pool=<namespace>/<name>]` continues from there with changes (`OverviewChange`,
 * `PoolChange`), or sends `reset` when it cannot, and the page fetches the snapshot again.
 */

export interface Overview {
  readonly seq: string;
  readonly now: number;
  readonly about: About;
  readonly pools: readonly PoolRow[];
}

/** The server, and what it allows. */
export interface About {
  readonly version: string;
  /**
   * Who can change dead letters and pauses: nobody; anyone with the token; users who may patch pools in Kubernetes, in which case
   * a reader also sees only the pools that they may list there.
   */
  readonly actions: 'none' | 'token' | 'rights';
  /** Whether tasks, their ids and their errors are shown. */
  readonly showTasks: boolean;
  /** A cluster's controller, or `millrace dev` on a developer's machine. */
  readonly host: 'controller' | 'dev';
}

export type PoolState = 'trouble' | 'paused' | 'scaling' | 'working' | 'idle' | 'unknown';

/** A pool in the list. All but `key` and `spark` can change. */
export interface PoolRow {
  /** `namespace/name`. */
  readonly key: string;
  readonly queue: string;
  readonly state: PoolState;
  /** The worst problem, as a sentence. */
  readonly trouble: string | null;
  /** `false` while the queue cannot be read: the numbers are then from `asOf`. */
  readonly known: boolean;
  /** When the pool was last read; up to half a minute ago if idle. 0 before the first time. */
  readonly asOf: number;
  readonly waiting: number;
  readonly inFlight: number;
  readonly delayed: number;
  readonly dead: number;
  readonly replicas: number;
  readonly ready: number;
  readonly desired: number;
  readonly maxReplicas: number;
  readonly mode: string;
  readonly targetMs: number | null;
  /** How long the tasks taken in the last minute or two had waited; `null` if there were none. */
  readonly waitP50: number | null;
  readonly waitP95: number | null;
  /** Tasks a second that came and that were finished, over the last minute or two. */
  readonly arriving: number;
  readonly finishing: number;
  readonly decision: string | null;
  readonly decidedAt: number | null;
  /** The most that waited in each `SPARK_MS` of the last while, the newest last, which began at `sparkAt`. */
  readonly spark?: readonly number[];
  readonly sparkAt?: number;
}

export interface OverviewChange {
  readonly now: number;
  /** Fields that differ; all fields of a new pool. */
  readonly changed: readonly (Partial<PoolRow> & Pick<PoolRow, 'key'>)[];
  readonly gone: readonly string[];
}

export interface PoolPage {
  readonly seq: string;
  readonly now: number;
  readonly about: About;
  readonly row: PoolRow;
  readonly series: Series;
  readonly parts: PoolParts;
}

/** Values every `stepMs` from `from`; `null` where unknown. */
export interface Series {
  readonly from: number;
  readonly stepMs: number;
  readonly columns: Readonly<Record<Column, readonly (number | null)[]>>;
}

/** How far back the timeline in Redis is shown. */
export type PastRange = '6h' | '24h' | '7d';

/**
 * `GET api/pools/<namespace>/<name>/past?range=<range>`: the timeline in Redis. Each step has the maximum of
 * every column, except `arrived` and `finished`, which are sums.
 */
export interface PoolPast {
  readonly now: number;
  readonly range: PastRange;
  readonly series: Series;
  /** The number of timeline entries that it was made from, and the time that each covers. */
  readonly entries: number;
  readonly entryMs: number;
}

export type Column =
  | 'waiting'
  | 'inFlight'
  | 'replicas'
  | 'ready'
  | 'desired'
  | 'waitP50'
  | 'waitP95'
  | 'arrived'
  | 'finished';

/** The sections below the charts. A part is sent again as a whole when any of it has changed. */
export interface PoolParts {
  readonly decisions: readonly DecisionView[];
  /** `null` while Redis does not answer. */
  readonly workers: WorkersView | null;
  /** Instead of workers and dead letters, where the tasks are those of another library. */
  readonly source: SourceView | null;
  readonly dead: DeadView | null;
  /** Absent where the controller is of an earlier version. `null` while Redis does not answer. */
  readonly batches?: BatchesView | null;
  /** Absent where the controller is of an earlier version. */
  readonly crons?: readonly CronRow[];
  /** Of each queue that has some. Absent where the controller is of an earlier version. `null` while Redis does not answer. */
  readonly limits?: readonly QueueLimitsView[] | null;
  readonly pauses: readonly PauseView[];
  readonly conditions: readonly ConditionView[];
  readonly settings: readonly SettingsGroup[];
}

export interface PoolChange {
  readonly now: number;
  readonly row?: Partial<PoolRow>;
  /** Steps of the series that are new or differ from what was sent, by their time; values in the order of its columns. */
  readonly points?: readonly (readonly [at: number, values: readonly (number | null)[]])[];
  readonly parts?: Partial<PoolParts>;
}

export interface DecisionView {
  readonly at: number;
  readonly from: number | null;
  readonly to: number | null;
  readonly cause: string;
  readonly text: string;
}

export interface WorkersView {
  readonly all: number;
  /** The busiest, at most `WORKERS_SHOWN`. */
  readonly list: readonly WorkerRow[];
}

export interface WorkerRow {
  readonly id: string;
  readonly queue: string;
  readonly state: string;
  readonly inFlight: number;
  readonly concurrency: number;
  /** Why it has so many slots, where it finds their number itself; else empty. */
  readonly slotsWhy: string;
  readonly version: string;
  readonly started: number;
  /** Whether its lease has expired: it is presumed dead. */
  readonly silent: boolean;
  /** Some of what it runs, where tasks may be shown. */
  readonly tasks: readonly RunningTask[];
}

export interface SourceView {
  readonly all: number;
  /** The busiest, at most `WORKERS_SHOWN`. `null` while they cannot be read. */
  readonly list: readonly SourceWorkerRow[] | null;
  /** What the library does not show, and what is wrong with its workers. */
  readonly notes: readonly string[];
}

/** See `ListedWorker` of queue/sources/list-workers.ts. */
export interface SourceWorkerRow {
  readonly id: string;
  readonly host: string | null;
  readonly state: 'idle' | 'busy' | 'draining' | 'drained' | 'silent';
  readonly tasks: number;
  readonly tasksShared: boolean;
  readonly idleMs: number | null;
  readonly ageMs: number;
}

export interface RunningTask {
  readonly id: string;
  readonly text: string;
  readonly progress: string | null;
}

export interface DeadView {
  readonly all: number;
  /** The newest, at most `DEAD_SHOWN`. */
  readonly list: readonly DeadRow[];
}

export interface DeadRow {
  /** Identifies it in actions; reveals nothing of the task. */
  readonly ref: string;
  readonly queue: string;
  /** `null` if something else wrote the entry. */
  readonly at: number | null;
  readonly attempts: number;
  readonly deliveries: number | null;
  readonly worker: string;
  /** The handler's error message, where tasks may be shown; otherwise the kind of error. */
  readonly error: string;
  readonly id: string | null;
  readonly text: string | null;
}

export interface BatchesView {
  /** Number of batches that have not ended, and of those that ended within the last week. */
  readonly open: number;
  readonly ended: number;
  /** Some of the open ones, those that wait for somebody first, then the newest; after them the last ones that ended. */
  readonly list: readonly BatchRow[];
}

export interface BatchRow {
  /** Identifies it in actions; reveals nothing of its id. */
  readonly ref: string;
  readonly queue: string;
  /** Where tasks may be shown: clients choose it, and the ids of parts begin with it. */
  readonly id: string | null;
  /** See `BatchState` of queue/batches/record.ts. */
  readonly state: string;
  readonly size: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  /** Parts that have not ended. */
  readonly left: number;
  /** Dead letters that it waits for. */
  readonly dead: number;
  /** Open batches inside of it. */
  readonly inner: number;
  /** Parts that ended a second lately; `null` if none did. */
  readonly rate: number | null;
  readonly createdAt: number;
  /** When parts were last added to it or ended. */
  readonly activeAt: number;
  readonly endedAt: number | null;
  /** Why it was cancelled, or which part failed; where tasks may be shown. */
  readonly why: string | null;
}

export interface CronRow {
  readonly name: string;
  readonly schedule: string;
  readonly timeZone: string;
  readonly suspended: boolean;
  readonly lastAt: number | null;
  /** Where tasks may be shown. */
  readonly lastTask: string | null;
  /** What became of the last task; `open` until it has ended, `null` where that is not known. */
  readonly outcome: 'open' | 'succeeded' | 'failed' | 'cancelled' | null;
  readonly missed: number;
  readonly skipped: number;
  /** The next times; none while it is suspended. */
  readonly next: readonly number[];
}

export interface QueueLimitsView {
  readonly queue: string;
  /** Who has set them, `pool NAMESPACE/NAME` for a pool, and when. */
  readonly by: string;
  readonly at: number;
  readonly limits: readonly LimitRow[];
  /** Those with the most held tasks. Their values are those of fields of tasks: none where tasks may not be shown. */
  readonly keys: readonly LimitedKeyRow[];
}

/** See `LimitUsage` of queue/limits/usage.ts. */
export interface LimitRow {
  readonly kind: 'rate' | 'concurrency' | 'perKey';
  readonly text: string;
  readonly used: number;
  /** `null` for keys, of which `used` is the number of those that have held tasks. */
  readonly most: number | null;
  readonly held: number;
}

export interface LimitedKeyRow {
  readonly key: string;
  readonly held: number;
  /** Its tasks in flight, and how many there may be; `null` where that is not limited. */
  readonly running: number | null;
  readonly most: number | null;
  /** When its next task may begin; `null`: when one of its tasks has ended. */
  readonly nextAt: number | null;
}

export interface PauseView {
  readonly queue: string;
  readonly at: number;
  readonly reason: string;
}

export interface ConditionView {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly since: number | null;
  /** True if this condition needs attention. */
  readonly bad: boolean;
}

export interface SettingsGroup {
  readonly title: string;
  readonly entries: readonly (readonly [name: string, value: string])[];
}

/** `POST api/pools/<namespace>/<name>/actions`, with the token as `Authorization: Bearer …`. */
export type Action =
  | { readonly do: 'requeue' | 'drop'; readonly refs: readonly string[] | 'all' }
  | { readonly do: 'cancel-batch'; readonly ref: string }
  | { readonly do: 'pause'; readonly reason: string }
  | { readonly do: 'resume' };

export interface ActionDone {
  /** The number of dead letters, batches or queues affected. */
  readonly count: number;
}

/** The body of every error response. */
export interface Refusal {
  readonly error: string;
  /** The page must ask for a Kubernetes token. */
  readonly signIn?: true;
}
