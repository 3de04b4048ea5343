/**
 * What the dashboard's server says and its page reads: JSON over HTTP, and the same values again, in part, as server-sent
 * events. Types only. Times are ms since the epoch, durations ms.
 *
 * `GET api/pools` and `GET api/pools/<namespace>/<name>` answer with a whole (`Overview`, `PoolPage`) that has a `seq`;
 * `GET api/events?since=<seq>[&pool=<namespace>/<name>]` goes on from there with what changed (`OverviewChange`,
 * `PoolChange`), or says `reset` when it cannot, and the page asks for the whole again.
 */

export interface Overview {
  readonly seq: string;
  readonly now: number;
  readonly about: About;
  readonly pools: readonly PoolRow[];
}

/** What the server is, and what it allows. */
export interface About {
  readonly version: string;
  /**
   * By whom dead letters and pauses can be changed: nobody; who has the token; who may patch pools in Kubernetes, and then only
   * those are shown that the reader may list there.
   */
  readonly actions: 'none' | 'token' | 'rights';
  /** Whether tasks, their ids and their errors are shown. */
  readonly showTasks: boolean;
  /** Where this is: a cluster's controller, or `millrace dev` on somebody's machine. */
  readonly host: 'controller' | 'dev';
}

export type PoolState = 'trouble' | 'paused' | 'scaling' | 'working' | 'idle' | 'unknown';

/** A pool in the list. All but `key` and `spark` can change. */
export interface PoolRow {
  /** `namespace/name`. */
  readonly key: string;
  readonly queue: string;
  readonly state: PoolState;
  /** What is wrong, in a sentence. */
  readonly trouble: string | null;
  /** `false` while the queue cannot be read: then the numbers are those of `asOf`. */
  readonly known: boolean;
  /** When the pool was looked at last; of an idle one up to half a minute ago. 0 before the first look. */
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
  /** How long tasks waited that were taken in the last minute or two; `null` when none was. */
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
  /** Fields that differ; a pool that is new comes whole. */
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

/** Values every `stepMs` from `from`; `null` where nothing is known. */
export interface Series {
  readonly from: number;
  readonly stepMs: number;
  readonly columns: Readonly<Record<Column, readonly (number | null)[]>>;
}

/** How far back the time line in Redis is shown. */
export type PastRange = '6h' | '24h' | '7d';

/**
 * `GET api/pools/<namespace>/<name>/past?range=<range>`: what the time line in Redis says. Of each step the most there was of
 * everything, but for `arrived` and `finished`, which are sums.
 */
export interface PoolPast {
  readonly now: number;
  readonly range: PastRange;
  readonly series: Series;
  /** How many entries of the time line it was made of, and how much time one stands for. */
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

/** What is below the charts. Each part is sent again as a whole when something of it changed. */
export interface PoolParts {
  readonly decisions: readonly DecisionView[];
  /** `null` while Redis does not answer. */
  readonly workers: WorkersView | null;
  readonly dead: DeadView | null;
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
  readonly version: string;
  readonly started: number;
  /** Whether its lease is over: it is presumed dead. */
  readonly silent: boolean;
  /** Some of what it runs, where tasks may be shown. */
  readonly tasks: readonly RunningTask[];
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
  /** Names it in actions; says nothing of the task. */
  readonly ref: string;
  readonly queue: string;
  readonly at: number;
  readonly attempts: number;
  readonly deliveries: number | null;
  readonly worker: string;
  /** The handler's own words, where tasks may be shown; else what kind of error it was. */
  readonly error: string;
  readonly id: string | null;
  readonly text: string | null;
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
  /** Whether this is how it should be not. */
  readonly bad: boolean;
}

export interface SettingsGroup {
  readonly title: string;
  readonly entries: readonly (readonly [name: string, value: string])[];
}

/** `POST api/pools/<namespace>/<name>/actions`, with the token as `Authorization: Bearer …`. */
export type Action =
  | { readonly do: 'requeue' | 'drop'; readonly refs: readonly string[] | 'all' }
  | { readonly do: 'pause'; readonly reason: string }
  | { readonly do: 'resume' };

export interface ActionDone {
  /** How many dead letters or queues it was about. */
  readonly count: number;
}

/** The body of every answer that is not a success. */
export interface Refusal {
  readonly error: string;
  /** A token of Kubernetes is asked for. */
  readonly signIn?: true;
}
