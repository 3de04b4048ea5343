/**
 * The priorities of a queue as a client has them: their lists are opened when one is used. Which of them are served is asked for with
 * each call that concerns all tasks of the queue.
 */
import { batchIdOf } from '../batch-mark.ts';
import { levelKeys, type Level, type Priority } from '../priorities.ts';
import { readLevels, readOpenLevels } from '../served-levels.ts';
import { BadTaskOptions } from '../task-options.ts';
import type { QueueKeys } from '../keys.ts';
import type { DeadLetters, DeadSelection, OnMoved } from '../dead-letters.ts';
import { shortId, taskHead, type EncodedTask, type TaskId } from '../task.ts';
import type { Part } from './part.ts';
import { deadInParts, type Parts } from './parts.ts';
import { NOT_LOST, type Named } from '../wrong-key.ts';

export interface LevelParts extends AsyncDisposable {
  /** Where tasks of a priority are pushed to. Throws `BadTaskOptions` for one that the queue cannot have. */
  pushedTo(this: void, priority: Priority | undefined): Parts;
  /** The queue with those of its priorities that may hold tasks or dead letters. */
  all(this: void): Promise<Parts>;
  /** The same, where requeued tasks go to the queue itself if their priority is not served. */
  letters(this: void): Promise<Parts>;
}

/** `open`: opens the list of a priority. */
export function createLevels(parts: Parts, open: (keys: QueueKeys, level: Level) => Part): LevelParts {
  const opened = new Map<Level, Part>();
  const [queue] = parts.all;
  const partOf = (level: Level): Part => {
    if (!queue || parts.all.length > 1)
      throw new BadTaskOptions(
        `a queue in partitions has no priorities, and a task of ${level} priority has no place in it: omit the priority, or use one list`,
      );
    const part = opened.get(level) ?? open(levelKeysOf(queue.keys, level), level);
    opened.set(level, part);
    return part;
  };
  const all = async (): Promise<Parts> => {
    if (!queue || parts.all.length > 1) return parts;
    const levels = await readLevels(queue.redis, queue.keys);
    return { all: [queue, ...levels.map(partOf)], current: parts.current };
  };
  return {
    pushedTo: (priority = 'normal') => {
      if (priority === 'normal') return parts;
      const part = partOf(priority);
      return { all: [part], current: [part] };
    },
    all,
    letters: async () => {
      const there = await all();
      if (!queue || there.all.length === parts.all.length) return there;
      const levels = await readOpenLevels(queue.redis, queue.keys);
      const served = new Set([queue, ...levels.map(partOf)]);
      const toQueue = (part: Part): Part => ({ ...part, keys: { ...part.keys, queue: queue.keys.queue } });
      return { ...there, all: there.all.map((part) => (served.has(part) ? part : toQueue(part))) };
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(Array.from(opened.values(), (part) => part[Symbol.asyncDispose]()));
    },
  };
}

function levelKeysOf(keys: QueueKeys, level: Level): QueueKeys {
  try {
    return levelKeys(keys, level);
  } catch (error) {
    throw new BadTaskOptions((error as Error).message, { cause: error });
  }
}

/** Throws `BadTaskOptions` for a task whose key, or whose batch, belongs to another list. */
export function checkForLevel({ id, raw, unique }: EncodedTask, level: Level): void {
  if (unique)
    throw new BadTaskOptions(
      `task ${shortId(id)} is unique ("${unique.key}"), which a task of ${level} priority cannot be: a task of its key may be in another list of the queue. Omit one of them`,
    );
  if (raw.includes('"batch"') && batchIdOf(taskHead(Buffer.from(raw)).value) !== undefined)
    throw new BadTaskOptions(
      `task ${shortId(id)} is a part of a batch, which a task of ${level} priority cannot be: parts are counted among tasks of normal priority. Omit one of them`,
    );
}

/**
 * Marks a task where it is found; where it is not found, in all lists, as it may be further back in any of them. A mark that meets no task
 * expires.
 */
export async function cancelInLevels({ all }: Parts, id: TaskId): Promise<'marked' | 'finished'> {
  const found = await Promise.all(all.map((part) => part.holds(id)));
  const marked = await Promise.all(
    all.filter((_, i) => found[i] === true || !found.includes(true)).map((part) => part.cancel(id)),
  );
  return marked.includes('marked') ? 'marked' : 'finished';
}

/** The dead letters of all priorities as one list. A requeued one keeps its priority, if that is served. */
export function deadInLevels(levels: Pick<LevelParts, 'letters'>, named: Named): DeadLetters {
  const letters = async (): Promise<DeadLetters> => deadInParts(await levels.letters());
  return Object.assign((count?: number) => named(async () => await (await letters())(count)), {
    find: (which: DeadSelection) => named(async () => await (await letters()).find(which)),
    requeue: (which: DeadSelection, onMoved?: OnMoved) =>
      named(async () => await (await letters()).requeue(which, onMoved), NOT_LOST),
    drop: (which: DeadSelection, onMoved?: OnMoved) =>
      named(async () => await (await letters()).drop(which, onMoved), NOT_LOST),
  });
}
