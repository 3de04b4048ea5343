/**
 * The state of one pool in Redis: workers and what they run, dead letters, pauses. Read only while somebody
 * looks at the pool, in a few bounded commands, of tasks and dead letters only the beginnings. Without leave to show tasks,
 * none is read but with the dead letters, where it is dropped at once.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { readDeadHeads, type DeadHead } from '../../../queue/dead-letter-format.ts';
import { readDecisions } from '../../../queue/pool/decisions.ts';
import { inspectQueue, workerTogether, type QueueView, type WorkerView } from '../../../queue/inspect.ts';
import type { QueueKeys } from '../../../queue/keys.ts';
import type { RedisOf } from '../../../queue/location.ts';
import { readCut } from '../../../queue/scripts/read.ts';
import { asBytes, asList } from '../../../queue/scripts/decode-reply.ts';
import { listSourceWorkers } from '../../../queue/sources/list-workers.ts';
import type { Source } from '../../../queue/sources/source.ts';
import { parseTask, shortId } from '../../../queue/task.ts';
import { recordKeysOf } from '../../sample/sampler.ts';
import { deadRow, LONGEST_ID, LONGEST_TASK, rank, sourceView, WORKERS_SHOWN } from './detail-rows.ts';
import { parseDecision } from '../../records/decisions.ts';
import type {
  DeadView,
  DecisionView,
  PauseView,
  RunningTask,
  SourceView,
  WorkerRow,
  WorkersView,
} from '../api.ts';

const DEAD_SHOWN = 50;
const TASKS_SHOWN = 4;
/** A worker that takes many small tasks at once holds none of them for long. */
const MOST_TASKS = 64;
/** A longer task is shown by its beginning, and its id is not looked for. */
const TASK_BYTES = 4_096;

export interface Details {
  readonly workers: WorkersView;
  readonly dead: DeadView;
  readonly pauses: readonly PauseView[];
  /** As the controller records them, including those of earlier processes. */
  readonly decisions: readonly DecisionView[];
}

export type SourceDetails = Pick<Details, 'decisions'> & { readonly source: SourceView };

/** The queues of a pool. */
export interface QueuesPlace {
  readonly redisOf: RedisOf;
  readonly queues: readonly QueueKeys[];
  /** Of partitions, the queue that they are shown as, beside which records are kept. */
  readonly records?: QueueKeys | undefined;
}

export interface DetailsReader {
  /** Of the pool `namespace/name`, in its queues. */
  read(place: QueuesPlace, pool: string): Promise<Details>;
  /** The same of a pool that runs the tasks of another library, whose workers are read where that shows them. */
  readSource(place: QueuesPlace, pool: string, source: Source): Promise<SourceDetails>;
  /** The dead letters that `refs` name, as digests by queue; those that are not among the newest any more are left out. */
  find(
    redisOf: RedisOf,
    queues: readonly QueueKeys[],
    refs: readonly string[],
  ): Promise<Map<QueueKeys, string[]>>;
}

export function createDetailsReader(showTasks: boolean): DetailsReader {
  /** So that a task cannot be guessed from its digest. */
  const secret = randomBytes(32);
  const refOf = (keys: QueueKeys, { digest }: DeadHead): string =>
    createHmac('sha256', secret).update(`${keys.queue}\n`).update(digest).digest('base64url').slice(0, 22);

  async function read(place: QueuesPlace, pool: string): Promise<Details> {
    const { redisOf, queues } = place;
    const nameOf = ({ queue }: QueueKeys): string => place.records?.queue ?? queue;
    const views = await Promise.all(queues.map((keys) => inspectQueue(redisOf(keys), keys)));
    const [workers, decisions, letters] = await Promise.all([
      workersOf(place, views, showTasks),
      decisionsOf(place, pool),
      Promise.all(queues.map((keys) => readDeadHeads(redisOf(keys), keys, DEAD_SHOWN, 4 * LONGEST_TASK))),
    ]);
    const rows = queues.flatMap((keys, i) =>
      (letters[i] ?? []).map((letter) => deadRow(refOf(keys, letter), nameOf(keys), letter, showTasks)),
    );
    const pauses = queues.flatMap((keys, i) => {
      const pause = views[i]?.pause;
      return pause ? [{ queue: nameOf(keys), ...pause }] : [];
    });
    return {
      workers,
      decisions,
      dead: {
        all: views.reduce((sum, { dead }) => sum + dead, 0),
        list: rows.toSorted((a, b) => (b.at ?? 0) - (a.at ?? 0)).slice(0, DEAD_SHOWN),
      },
      // one queue is paused once
      pauses: place.records ? pauses.slice(0, 1) : pauses,
    };
  }

  async function readSource(place: QueuesPlace, pool: string, source: Source): Promise<SourceDetails> {
    const { redisOf, queues } = place;
    const [first] = queues;
    const [decisions, found] = await Promise.all([
      decisionsOf(place, pool),
      first && listSourceWorkers(redisOf(first), source).catch(() => undefined),
    ]);
    return { decisions, source: found ? sourceView(found) : UNREAD };
  }

  return {
    read,
    readSource,
    find: async (redisOf, queues, refs) => {
      const wanted = new Set(refs);
      const found = queues.map(async (keys) => {
        const letters = await readDeadHeads(redisOf(keys), keys, 4 * DEAD_SHOWN, 0);
        const named = letters.filter((letter) => wanted.has(refOf(keys, letter)));
        return [keys, named.map(({ digest }) => digest)] as const;
      });
      return new Map((await Promise.all(found)).filter(([, ids]) => ids.length > 0));
    },
  };
}

/** A worker in a queue, or in all partitions of one. */
interface WorkerInQueue {
  readonly queue: string;
  readonly worker: WorkerView;
  readonly parts: readonly {
    readonly keys: QueueKeys;
    readonly worker: WorkerView;
    readonly view: QueueView | undefined;
  }[];
}

async function workersOf(
  { redisOf, queues, records }: QueuesPlace,
  views: readonly QueueView[],
  showTasks: boolean,
): Promise<WorkersView> {
  const each = queues.flatMap((keys, i) =>
    (views[i]?.workerList ?? []).map((worker): WorkerInQueue => {
      const part = { keys, worker, view: views[i] };
      return { queue: keys.queue, worker, parts: [part] };
    }),
  );
  const all = records ? mergedWorkers(records.queue, each) : each;
  const shown = all.toSorted((a, b) => rank(a.worker, b.worker)).slice(0, WORKERS_SHOWN);
  const list = shown.map(async ({ queue, worker, parts }): Promise<WorkerRow> => {
    const { id, state, inFlight, concurrency, slotsWhy = '', version, started, leaseLeft } = worker;
    const busy = showTasks && inFlight <= MOST_TASKS ? parts.filter((part) => part.worker.inFlight > 0) : [];
    const reading = busy
      .slice(0, TASKS_SHOWN)
      .map((part) => running(redisOf(part.keys), part.keys, part.worker, part.view));
    const tasks = (await Promise.all(reading)).flat().slice(0, TASKS_SHOWN);
    const silent = leaseLeft <= 0;
    return { id, queue, state, inFlight, concurrency, slotsWhy, version, started, silent, tasks };
  });
  return { all: all.length, list: await Promise.all(list) };
}

/** A worker takes from all partitions of a queue: shown once, with the sum of its tasks. */
function mergedWorkers(queue: string, each: readonly WorkerInQueue[]): WorkerInQueue[] {
  return [...Map.groupBy(each, ({ worker }) => worker.id).values()].flatMap((some) => {
    const [first] = some;
    if (!first) return [];
    const others = some.slice(1).map(({ worker }) => worker);
    const worker = workerTogether([first.worker, ...others]);
    return [{ queue, worker, parts: some.flatMap(({ parts }) => parts) }];
  });
}

async function running(
  redis: Redis,
  keys: QueueKeys,
  { id: worker }: WorkerView,
  view: QueueView | undefined,
): Promise<RunningTask[]> {
  const cut = { bytes: TASK_BYTES, values: TASKS_SHOWN };
  const raws = asList(await readCut(redis, keys.inflight(worker), cut, 'HVALS'), 'the tasks of a worker');
  return raws.slice(0, TASKS_SHOWN).map((one) => {
    const raw = asBytes(one, 'a task');
    const id = shortId(parseTask(raw).id, LONGEST_ID);
    const said = view?.progress.find((report) => report.worker === worker && report.id === id);
    return { id, text: shortId(raw, LONGEST_TASK), progress: said ? JSON.stringify(said.value) : null };
  });
}

const UNREAD: SourceView = { all: 0, list: null, notes: [] };

const TURNS: ReadonlySet<string> = new Set(['Unknown', 'Fallback', 'Paused']);

/** Decisions that changed something. */
async function decisionsOf({ redisOf, queues, records }: QueuesPlace, pool: string): Promise<DecisionView[]> {
  const keys = recordKeysOf({ records, queues });
  const texts = await readDecisions(redisOf(keys), keys, pool);
  return texts.flatMap((text) => {
    const { at = 0, from = 0, to = 0, desired = to, cause = '', reason } = parseDecision(text) ?? {};
    if (reason === undefined || (from === to && !TURNS.has(cause))) return [];
    return [{ at, from, to: from === to ? desired : to, cause, text: reason }];
  });
}
