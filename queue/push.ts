/**
 * Pushes tasks exactly once. A connection may break after Redis has executed a push and before its reply arrives; ioredis then
 * resends it on the next one. So each push of a client has a number, and Redis remembers for an hour which it has (push.lua).
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { within } from './connection/connection.ts';
import type { QueueKeys } from './keys.ts';
import type { Level } from './priorities.ts';
import { script } from './scripts/scripts.ts';
import { BadTaskOptions } from './task-options.ts';
import { delayedMember, type EncodedTask } from './task.ts';

/** How long Redis remembers a client's pushes: one that is resent later than this may be made twice, s. */
const KEPT_S = 3_600;
/** How often that time is renewed, ms. */
const REFRESH_MS = 60_000;
/** The floor is raised once in this many pushes, so that most of them write only one more field. */
const FLOOR_EVERY = 32;
const UNLINK_TIMEOUT_MS = 500;

export type Duplicates = ReadonlyMap<number, string>;

const none: Duplicates = new Map();

export interface Pusher extends AsyncDisposable {
  /**
   * In order, a few thousand at most. `delayMs`: run them no earlier. Resolves to the positions of unique tasks that were not pushed, each
   * with the id of the task that has its key.
   */
  push(tasks: readonly EncodedTask[], delayMs: number | undefined): Promise<Duplicates>;
}

/** A priority of a queue, whose list the tasks are pushed to. */
export interface PushedLevel {
  readonly level: Level;
  readonly of: QueueKeys;
}

/**
 * Disposing it deletes what Redis remembers of this client. `results`: the result hash, if it is on another server. With a `level`, pushes
 * reject with `BadTaskOptions` unless that is served.
 */
export function createPusher(
  redis: Redis,
  keys: QueueKeys,
  results?: { readonly redis: Redis; readonly key: string },
  level?: PushedLevel,
): Pusher {
  const own = keys.pushes(randomUUID());
  const answered = new Set<number>();
  let last = 0;
  let floor = 0;
  let sentFloor = 0;
  let refreshedAt = -Infinity;

  function isAnswered(number: number): void {
    answered.add(number);
    while (answered.delete(floor + 1)) floor++;
  }

  /** The ids without those of tasks that are not pushed because another one has their key: their results stay. */
  async function withoutHolders(tasks: readonly EncodedTask[]): Promise<(string | Buffer)[]> {
    const names = [...new Set(tasks.flatMap(({ unique }) => unique?.key ?? []))];
    // what cannot be read is no lock, as for the script
    const lockOf = async (name: string): Promise<string | null> =>
      redis.get(keys.unique(name)).catch(() => null);
    const locks = await Promise.all(names.map(lockOf));
    const taken = new Set(names.filter((_, i) => isLock(locks[i])));
    return tasks.flatMap(({ id, unique }) => {
      if (unique && taken.has(unique.key)) return [];
      if (unique) taken.add(unique.key);
      return [id];
    });
  }

  return {
    push: async (tasks, delayMs) => {
      const number = ++last;
      if (floor - sentFloor >= FLOOR_EVERY) sentFloor = floor;
      const { queue, delayed, result, errors, cancelled } = keys;
      const raws = tasks.map(({ raw }) => (delayMs === undefined ? raw : delayedMember(randomUUID(), raw)));
      const ids = tasks.map(({ id }) => id);
      const now = performance.now();
      const refresh = now - refreshedAt >= REFRESH_MS;
      if (refresh) refreshedAt = now;
      const about = [number, sentFloor, KEPT_S, delayMs ?? '', tasks.length, refresh ? 1 : 0];
      const uniques = tasks.flatMap(({ unique }, i) =>
        unique ? [[i + 1, unique.key.toWellFormed(), unique.forMs]] : [],
      );
      const rest = uniques.length > 0 ? [JSON.stringify(uniques)] : [];
      const served = level ? [level.of.priorities, level.level] : rest;
      const args = [...about, ...ids, ...raws, ...served];
      try {
        // before the push, after which there may be a new one
        if (results && ids.length > 0) {
          const pushed = uniques.length > 0 ? await withoutHolders(tasks) : ids;
          if (pushed.length > 0) await results.redis.hdel(results.key, ...pushed);
        }
        const told = await script(redis, 'push')(queue, delayed, result, errors, cancelled, own, ...args);
        if (told === -1 && level) throw notServed(level);
        return Buffer.isBuffer(told) || typeof told === 'string' ? duplicatesIn(String(told)) : none;
      } finally {
        isAnswered(number);
      }
    },
    [Symbol.asyncDispose]: async () => {
      if (last > 0 && redis.status === 'ready')
        await within(UNLINK_TIMEOUT_MS, redis.unlink(own), 'UNLINK').catch(() => undefined);
    },
  };
}

function notServed({ level, of: { queue } }: PushedLevel): BadTaskOptions {
  return new BadTaskOptions(
    `"${queue}" serves no tasks of ${level} priority, and nothing was pushed: add ${level} to spec.priorities of its WorkerPool, or start its workers with --priorities ${level}`,
  );
}

/** `told`: for each task the id of the one that has its key, or an empty text. */
function duplicatesIn(told: string): Duplicates {
  const holders = JSON.parse(told) as string[];
  return new Map(holders.flatMap((id, i) => (id === '' ? [] : [[i, id]])));
}

/** As push.lua reads it. */
function isLock(text: string | null | undefined): boolean {
  try {
    const lock = JSON.parse(text ?? '') as { readonly id?: unknown } | null;
    return typeof lock?.id === 'string';
  } catch {
    return false;
  }
}
