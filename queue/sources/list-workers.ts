/** The workers of another library for people to look at: what each of them holds, and how old that knowledge may be. Only reads. */
import type { Redis } from 'ioredis';
import { createAsk } from './ask.ts';
import type { Holding, Source, SourceWorker } from './source.ts';

/** `silent`: it has not reported for longer than it should, and `tasks` is the least that it may hold. */
export type ListedState = 'idle' | 'busy' | 'draining' | 'drained' | 'silent';

export interface ListedWorker {
  readonly id: string;
  /** Its host name or address; `undefined` where the library does not say it. */
  readonly host: string | undefined;
  readonly state: ListedState;
  readonly tasks: number;
  /** `tasks` are those of several workers together: which of them holds one is not known. */
  readonly tasksShared: boolean;
  /** Since it last asked for a task, ms; `undefined` where the library does not say it. */
  readonly idleMs: number | undefined;
  /** What is known of it is at most this old, ms. */
  readonly ageMs: number;
}

export interface ListedWorkers {
  /** The busiest first. */
  readonly workers: readonly ListedWorker[];
  /** Human-readable: what the library does not show of its workers, and what is wrong with them. */
  readonly notes: readonly string[];
}

/** Throws as `readWorkers` of the source does. Takes up to a second where workers are asked (Celery). */
export async function listSourceWorkers(redis: Redis, { holding }: Source): Promise<ListedWorkers> {
  if (holding.by !== 'worker') return { workers: [], notes: [unlisted(holding)] };
  const { workers, unnamed, concerns = [] } = await holding.readWorkers(createAsk(redis), redis);
  const listed = new Map<string, ListedWorker>();
  for (const one of workers.filter(({ placeholder }) => !placeholder)) {
    const here = listedOf(one, holding.lagMs);
    const place = `${here.id}\n${here.host}`;
    listed.set(place, together(listed.get(place), here));
  }
  const notes = concerns.map(({ note, todo }) => `${note}: ${todo}`);
  const others =
    unnamed === 1 ? '1 task in hand names none of them' : `${unnamed} tasks in hand name none of them`;
  return {
    workers: [...listed.values()].toSorted((a, b) => b.tasks - a.tasks || (a.id < b.id ? -1 : 1)),
    notes: unnamed > 0 ? [others, ...notes] : notes,
  };
}

function unlisted(holding: Exclude<Holding, { by: 'worker' }>): string {
  return holding.by === 'count'
    ? 'this library shows how many tasks are in hand, and not who holds them'
    : `the workers are not known, because ${holding.why}`;
}

function listedOf(worker: SourceWorker, lagMs: number): ListedWorker {
  const { id, hosts, tasks, tasksShared = false, hostsGuessed, idleMs, seenMs: ageMs = lagMs } = worker;
  const host = hostsGuessed ? undefined : hosts[0];
  return { id, host, state: stateOf(worker), tasks, tasksShared, idleMs, ageMs };
}

/** A consumer of several streams is listed once. */
function together(other: ListedWorker | undefined, here: ListedWorker): ListedWorker {
  if (!other) return here;
  const { idleMs: idle = Infinity } = other;
  return {
    ...here,
    state: other.state === 'busy' ? 'busy' : here.state,
    tasks: other.tasks + here.tasks,
    idleMs: here.idleMs === undefined ? other.idleMs : Math.min(idle, here.idleMs),
  };
}

function stateOf({ tasks, quiet, silent }: SourceWorker): ListedState {
  if (silent) return 'silent';
  if (quiet) return tasks > 0 ? 'draining' : 'drained';
  return tasks > 0 ? 'busy' : 'idle';
}
