/**
 * The state of one pool in Redis: workers and what they run, dead letters, pauses. Read only while somebody
 * looks at the pool, in a few bounded commands, of tasks and dead letters only the beginnings. Without leave to show tasks,
 * none is read but with the dead letters, where it is dropped at once.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { readDeadHeads, type DeadHead } from '../../queue/dead-letter-format.ts';
import { readDecisions } from '../../queue/pool/decisions.ts';
import { sentence } from '../../kube/conditions.ts';
import { inspectQueue, type QueueView, type WorkerView } from '../../queue/inspect.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import { readCut } from '../../queue/scripts/read.ts';
import { asBytes, asList } from '../../queue/scripts/decode-reply.ts';
import { listSourceWorkers, type ListedWorkers } from '../../queue/sources/list-workers.ts';
import type { Source } from '../../queue/sources/source.ts';
import { parseTask, shortId } from '../../queue/task.ts';
import { plainText } from '../../runtime/plain-text.ts';
import { parseDecision } from '../records/decisions.ts';
import type {
  DeadRow,
  DeadView,
  DecisionView,
  PauseView,
  RunningTask,
  SourceView,
  WorkerRow,
  WorkersView,
} from './api.ts';

const WORKERS_SHOWN = 200;
const DEAD_SHOWN = 50;
const TASKS_SHOWN = 4;
/** A longer task is shown by its beginning, and its id is not looked for. */
const TASK_BYTES = 4_096;
const LONGEST_TASK = 300;
const LONGEST_ID = 80;
const LONGEST_ERROR = 1_000;
const LONGEST_NAME = 200;

export interface Details {
  readonly workers: WorkersView;
  readonly dead: DeadView;
  readonly pauses: readonly PauseView[];
  /** As the controller records them, including those of earlier processes. */
  readonly decisions: readonly DecisionView[];
}

export type SourceDetails = Pick<Details, 'decisions'> & { readonly source: SourceView };

export interface DetailsReader {
  /** Of the pool `namespace/name`, in its queues. */
  read(redisOf: RedisOf, queues: readonly QueueKeys[], pool: string): Promise<Details>;
  /** The same of a pool that runs the tasks of another library, whose workers are read where that shows them. */
  readSource(
    redisOf: RedisOf,
    queues: readonly QueueKeys[],
    pool: string,
    source: Source,
  ): Promise<SourceDetails>;
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

  async function read(redisOf: RedisOf, queues: readonly QueueKeys[], pool: string): Promise<Details> {
    const views = await Promise.all(queues.map((keys) => inspectQueue(redisOf(keys), keys)));
    const [workers, decisions, letters] = await Promise.all([
      workersOf(redisOf, queues, views),
      decisionsOf(redisOf, queues, pool),
      Promise.all(queues.map((keys) => readDeadHeads(redisOf(keys), keys, DEAD_SHOWN, 4 * LONGEST_TASK))),
    ]);
    const rows = queues.flatMap((keys, i) =>
      (letters[i] ?? []).map((letter) => deadRow(refOf(keys, letter), keys, letter)),
    );
    return {
      workers,
      decisions,
      dead: {
        all: views.reduce((sum, { dead }) => sum + dead, 0),
        list: rows.toSorted((a, b) => b.at - a.at).slice(0, DEAD_SHOWN),
      },
      pauses: queues.flatMap(({ queue }, i) => {
        const pause = views[i]?.pause;
        return pause ? [{ queue, ...pause }] : [];
      }),
    };
  }

  async function workersOf(
    redisOf: RedisOf,
    queues: readonly QueueKeys[],
    views: readonly QueueView[],
  ): Promise<WorkersView> {
    const all = queues.flatMap((keys, i) =>
      (views[i]?.workerList ?? []).map((worker) => ({ keys, worker, view: views[i] })),
    );
    const shown = all.toSorted((a, b) => rank(a.worker, b.worker)).slice(0, WORKERS_SHOWN);
    const list = shown.map(async ({ keys, worker, view }): Promise<WorkerRow> => {
      const { id, state, inFlight, concurrency, version, started, leaseLeft } = worker;
      const tasks = showTasks && inFlight > 0 ? await running(redisOf(keys), keys, worker, view) : [];
      const { queue } = keys;
      const silent = leaseLeft <= 0;
      return { id, queue, state, inFlight, concurrency, version, started, silent, tasks };
    });
    return { all: all.length, list: await Promise.all(list) };
  }

  async function running(
    redis: Redis,
    keys: QueueKeys,
    { id: worker, inFlight }: WorkerView,
    view: QueueView | undefined,
  ): Promise<RunningTask[]> {
    // a worker that takes many small tasks at once holds none of them for long
    if (inFlight > 64) return [];
    const cut = { bytes: TASK_BYTES, values: TASKS_SHOWN };
    const raws = asList(await readCut(redis, keys.inflight(worker), cut, 'HVALS'), 'the tasks of a worker');
    return raws.slice(0, TASKS_SHOWN).map((one) => {
      const raw = asBytes(one, 'a task');
      const id = shortId(parseTask(raw).id, LONGEST_ID);
      const said = view?.progress.find((report) => report.worker === worker && report.id === id);
      return { id, text: shortId(raw, LONGEST_TASK), progress: said ? JSON.stringify(said.value) : null };
    });
  }

  function deadRow(ref: string, { queue }: QueueKeys, letter: DeadHead): DeadRow {
    const { at, attempts, deliveries, worker, error, id, start } = letter;
    const shown = showTasks
      ? {
          error: plainText(error, LONGEST_ERROR),
          id: shortId(id ?? start, LONGEST_ID),
          text: shortId(start, LONGEST_TASK),
        }
      : { error: kindOf(error), id: null, text: null };
    return {
      ref,
      queue,
      at,
      attempts,
      deliveries: deliveries ?? null,
      worker: plainText(worker, LONGEST_ID),
      ...shown,
    };
  }

  async function readSource(
    redisOf: RedisOf,
    queues: readonly QueueKeys[],
    pool: string,
    source: Source,
  ): Promise<SourceDetails> {
    const [first] = queues;
    const [decisions, found] = await Promise.all([
      decisionsOf(redisOf, queues, pool),
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

const UNREAD: SourceView = { all: 0, list: null, notes: [] };

/** Names and hosts are chosen by whoever starts a worker. */
function sourceView({ workers, notes }: ListedWorkers): SourceView {
  const list = workers
    .slice(0, WORKERS_SHOWN)
    .map(({ id, host, state, tasks, tasksShared, idleMs, ageMs }) => ({
      id: plainText(id, LONGEST_NAME),
      host: host === undefined ? null : plainText(host, LONGEST_NAME),
      state,
      tasks,
      tasksShared,
      idleMs: idleMs ?? null,
      ageMs,
    }));
  return { all: workers.length, list, notes: notes.map(sentence) };
}

const TURNS: ReadonlySet<string> = new Set(['Unknown', 'Fallback', 'Paused']);

/** Decisions that changed something. */
async function decisionsOf(
  redisOf: RedisOf,
  [first]: readonly QueueKeys[],
  pool: string,
): Promise<DecisionView[]> {
  const texts = first ? await readDecisions(redisOf(first), first, pool) : [];
  return texts.flatMap((text) => {
    const { at = 0, from = 0, to = 0, desired = to, cause = '', reason } = parseDecision(text) ?? {};
    if (reason === undefined || (from === to && !TURNS.has(cause))) return [];
    return [{ at, from, to: from === to ? desired : to, cause, text: reason }];
  });
}

/** Silent workers first, then the busiest, then the oldest. */
function rank(a: WorkerView, b: WorkerView): number {
  return (
    Number(b.leaseLeft <= 0) - Number(a.leaseLeft <= 0) ||
    b.inFlight - a.inFlight ||
    a.started - b.started ||
    a.id.localeCompare(b.id)
  );
}

/** The kind of an error, without the handler's message, which may quote the task. */
export function kindOf(error: string): string {
  const words = error.replace(/^not to be retried: /, '');
  const own = /^delivered \d+ times.*|^exit code \d+|^killed by SIG[A-Z]+/.exec(words);
  if (own) return own[0];
  const named = /^([A-Z][A-Za-z]{2,60}(?:Error|Exception|Failure|Failed)): /.exec(words);
  return named?.[1] ?? 'an error whose words are hidden';
}
