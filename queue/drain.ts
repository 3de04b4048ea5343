/**
 * Telling workers to drain, and hearing what became of it: the part of a scale-in that is in Redis.
 *
 * A mark is in two places: in the worker's hash, where each of its turns sees it (turn.lua then gives it nothing, whatever
 * it asks for), and in `leaving`, for a worker that registers only later. It lasts MARK_MS and is to be set again before.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';
import { asCount, asList, asText } from './reply-form.ts';
import { script } from './scripts.ts';

/** A worker as Redis knows it. */
export interface WorkerLoad {
  /** As of its last turn: idle, busy, draining or drained. Of several queues, that of one that has not drained. */
  readonly state: string;
  readonly inFlight: number;
  /** Ids of the connections on which it waits for tasks, in the server. */
  readonly blockers: readonly number[];
}

/** By worker id; a worker that is not registered has no entry. */
export type WorkerLoads = ReadonlyMap<string, WorkerLoad>;

/** What is to become of a worker: by the controller, and by a person, whose wish outlasts what the controller wants. */
export type Verdict = 'leave' | 'stay' | 'look' | 'ask' | 'release';

/** How long a mark lasts that nobody sets again, ms. */
const MARK_MS = 30_000;

/**
 * Does to each worker as it is told, in each queue at one instant, and returns them as they were right after. A mark lasts
 * `markMs`.
 */
export async function drainWorkers(
  redis: Redis,
  queues: readonly QueueKeys[],
  verdicts: ReadonlyMap<string, Verdict>,
  markMs = MARK_MS,
): Promise<WorkerLoads> {
  const all = await Promise.all(queues.map((keys) => drainIn(redis, keys, verdicts, markMs)));
  const loads = new Map<string, WorkerLoad>();
  for (const some of all) {
    for (const [id, load] of some) {
      const other = loads.get(id);
      loads.set(id, other ? together(other, load) : load);
    }
  }
  return loads;
}

function together(one: WorkerLoad, other: WorkerLoad): WorkerLoad {
  return {
    state: one.state === 'drained' ? other.state : one.state,
    inFlight: one.inFlight + other.inFlight,
    blockers: [...one.blockers, ...other.blockers],
  };
}

async function drainIn(
  redis: Redis,
  keys: QueueKeys,
  verdicts: ReadonlyMap<string, Verdict>,
  markMs: number,
): Promise<WorkerLoads> {
  const ids = [...verdicts.keys()];
  const reply = await script(redis, 'drain')(
    ids.length + 3,
    keys.leaving,
    keys.load,
    keys.asked,
    ...ids.map((id) => keys.worker(id)),
    markMs,
    ...[...verdicts].flat(),
  );
  const loads = new Map<string, WorkerLoad>();
  for (const [i, one] of asList(reply, 'the states of workers', ids.length).entries()) {
    const [state, inFlight, blocker] = asList(one, 'a worker', 3);
    const told = asText(state, 'a state', 32);
    if (told === '') continue;
    const connection = Number(asText(blocker, 'a connection', 32));
    const blockers = Number.isSafeInteger(connection) && connection > 0 ? [connection] : [];
    loads.set(ids[i] ?? '', { state: told, inFlight: asCount(inFlight, 'tasks in flight'), blockers });
  }
  return loads;
}

/**
 * Ends the waits of workers, so that they look around at once. Where the server does not allow that, they do so by
 * themselves within a second. Never rejects.
 */
export async function rouse(redis: Redis, loads: Iterable<WorkerLoad>): Promise<void> {
  const ids = [...loads].flatMap(({ blockers }) => blockers);
  await Promise.allSettled(ids.map((id) => redis.client('UNBLOCK', id)));
}
