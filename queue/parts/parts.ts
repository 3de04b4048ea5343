/**
 * A queue in partitions as one: tasks go to the partition that their id chooses, their home, and are looked for there first. A plain
 * client may have pushed one to any other, so these are looked at as well, in bounded reads, unless this client enqueued it itself.
 */
import { inspectQueue, workerTogether, type QueueView, type WorkerView } from '../inspect.ts';
import type { DeadLetter } from '../dead-letter-format.ts';
import { openDeadLetters, type DeadLetters, type DeadSelection, type OnMoved } from '../dead-letters.ts';
import type { Part } from './part.ts';
import { partitionOf } from '../partitions.ts';
import { combineSamples } from '../pool/pool-sample.ts';
import { readProgress } from '../progress.ts';
import type { TaskId } from '../task.ts';

export interface Parts {
  /** Of all lists that are read. */
  readonly all: readonly Part[];
  /** Of those that tasks are pushed to. */
  readonly current: readonly Part[];
}

/** Where a task of this id is pushed to. */
export function homeOf({ current }: Parts, id: TaskId): Part {
  return current[partitionOf(id, current.length)] as Part;
}

/**
 * Marks a task in one partition alone: where it is found, or at home. A mark elsewhere would wait there for a later task of the
 * same id.
 */
export async function cancelIn(parts: Parts, id: TaskId, isOurs: boolean): Promise<'marked' | 'finished'> {
  const home = homeOf(parts, id);
  const others = isOurs ? [] : parts.all.filter((part) => part !== home);
  if (others.length === 0 || (await home.hasEnded(id))) return await home.cancel(id);
  const found = await Promise.all(others.map((part) => part.holds(id)));
  const holder = others[found.indexOf(true)];
  if (holder) return await holder.cancel(id);
  const ended = await Promise.all(others.map((part) => part.hasEnded(id)));
  // unless it is at home, where an earlier task of that id did not end
  if (ended.includes(true) && !(await home.holds(id))) return 'finished';
  return await home.cancel(id);
}

export async function progressIn(parts: Parts, id: TaskId): Promise<unknown> {
  const home = homeOf(parts, id);
  const reported = await readProgress(home.redis, home.keys, id);
  if (reported !== undefined) return reported;
  const others = parts.all.filter((part) => part !== home);
  const found = await Promise.all(others.map(({ redis, keys }) => readProgress(redis, keys, id)));
  return found.find((value) => value !== undefined);
}

/** One view of all: sums, and each worker once. */
export async function inspectParts({ all }: Parts): Promise<QueueView> {
  const views = await Promise.all(all.map(({ redis, own }) => inspectQueue(redis, own)));
  const [only] = views;
  if (only && views.length === 1) return only;
  const { runnable: _, pausedQueues: __, blocked: ___, limits: ____, ...sample } = combineSamples(views);
  const workers = Map.groupBy(
    views.flatMap(({ workerList }) => workerList),
    ({ id }) => id,
  );
  const workerList = Array.from(workers.values(), (some) =>
    workerTogether(some as [WorkerView, ...WorkerView[]]),
  );
  return {
    ...sample,
    busy: workerList.filter(({ inFlight }) => inFlight > 0).length,
    workerList,
    pause: views.find(({ pause }) => pause)?.pause,
    progress: views.flatMap(({ progress }) => progress),
  };
}

/** The dead letters of all partitions as one list. */
export function deadInParts({ all }: Parts): DeadLetters {
  const lists = all.map(({ redis, keys }) => openDeadLetters(redis, keys));
  const [only] = lists;
  if (only && lists.length === 1) return only;
  const sum = async (of: (list: DeadLetters) => Promise<number>): Promise<number> =>
    (await Promise.all(lists.map(of))).reduce((total, count) => total + count, 0);
  const newest = async (count = 100): Promise<DeadLetter[]> => {
    const found = (await Promise.all(lists.map((list) => list(count)))).flat();
    return found.toSorted((a, b) => b.at - a.at).slice(0, count);
  };
  return Object.assign(newest, {
    find: async (which: DeadSelection) => {
      const found = (await Promise.all(lists.map((list) => list.find(which)))).flat();
      return found.toSorted((a, b) => a.at - b.at);
    },
    requeue: (which: DeadSelection, onMoved?: OnMoved) => sum((list) => list.requeue(which, onMoved)),
    drop: (which: DeadSelection, onMoved?: OnMoved) => sum((list) => list.drop(which, onMoved)),
  });
}
