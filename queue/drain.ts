/**
 * Telling workers of one queue to drain, and hearing what became of it: the part of a scale-in that is in Redis.
 *
 * A mark is in two places: in the worker's hash, where each of its turns sees it (turn.lua then gives it nothing, whatever
 * it asks for), and in `leaving`, for a worker that registers only later. It lasts MARK_MS and is to be set again before.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';
import { script } from './scripts.ts';

/** A worker as Redis knows it. */
export interface WorkerLoad {
  /** As of its last turn: idle, busy, draining or drained. */
  readonly state: string;
  readonly inFlight: number;
  /** Id of the connection on which it waits for tasks, in the server. */
  readonly blocker: number | undefined;
}

/** By worker id; a worker that is not registered has no entry. */
export type WorkerLoads = ReadonlyMap<string, WorkerLoad>;

/** What is to become of a worker. */
export type Verdict = 'leave' | 'stay' | 'look';

/** How long a mark lasts that nobody sets again, ms. */
const MARK_MS = 30_000;

/** Does to each worker as it is told, all at one instant, and returns them as they were right after. */
export async function drainWorkers(
  redis: Redis,
  keys: QueueKeys,
  verdicts: ReadonlyMap<string, Verdict>,
): Promise<WorkerLoads> {
  const ids = [...verdicts.keys()];
  const reply = (await script(redis, 'drain')(
    ids.length + 2,
    keys.leaving,
    keys.load,
    ...ids.map((id) => keys.worker(id)),
    MARK_MS,
    ...[...verdicts].flat(),
  )) as [Buffer, number, Buffer][];
  const loads = new Map<string, WorkerLoad>();
  for (const [i, [state, inFlight, blocker]] of reply.entries()) {
    if (state.length === 0) continue;
    loads.set(ids[i] ?? '', { state: state.toString(), inFlight, blocker: Number(blocker) || undefined });
  }
  return loads;
}

/**
 * Ends the waits of workers, so that they look around at once. Where the server does not allow that, they do so by
 * themselves within a second. Never rejects.
 */
export async function rouse(redis: Redis, loads: Iterable<WorkerLoad>): Promise<void> {
  const ids = [...loads].flatMap(({ blocker }) => blocker ?? []);
  await Promise.allSettled(ids.map((id) => redis.client('UNBLOCK', id)));
}
