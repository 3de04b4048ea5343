/**
 * Selects dead letters, and requeues or drops them. The list is read in pages from its oldest end; each letter is moved by one
 * script (letter.lua), so that a task is never in two places, or in none. Letters added meanwhile are left for the next call.
 */
import type { Redis } from 'ioredis';
import { redisNow } from './connection/connection.ts';
import { readDeadLetters, readLetter, type DeadLetter } from './dead-letter-format.ts';
import type { QueueKeys } from './keys.ts';
import { openRequests, type Requests } from './scripts/answers.ts';
import { script } from './scripts/scripts.ts';

/** Selects letters that meet all conditions given. */
export interface DeadFilter {
  /** Ids of the tasks. */
  readonly ids?: readonly (string | Buffer)[];
  /** The error contains this text, or matches this expression. */
  readonly error?: string | RegExp;
  /** Minimum age, ms. */
  readonly olderThanMs?: number;
}

/** `'all'`, or a filter with at least one condition. */
export type DeadSelection = 'all' | DeadFilter;

/** Called with the number of letters removed, as they are removed. */
export type OnMoved = (count: number) => void;

export interface DeadLetters {
  /** The newest dead letters, newest first; 100 by default. */
  (count?: number): Promise<DeadLetter[]>;
  /** The selected ones, oldest first. */
  find(which: DeadSelection): Promise<DeadLetter[]>;
  /** Puts the selected tasks back into the queue as new, oldest first, and deletes their errors. Resolves to the number. */
  requeue(which: DeadSelection, onMoved?: OnMoved): Promise<number>;
  /** Removes the selected letters and their errors. Resolves to their number. */
  drop(which: DeadSelection, onMoved?: OnMoved): Promise<number>;
}

const PAGE = 200;

/** The dead letters of a queue. Its functions throw `TypeError` for a selection without a condition. */
export function openDeadLetters(redis: Redis, keys: QueueKeys): DeadLetters {
  const list = (count?: number): Promise<DeadLetter[]> => readDeadLetters(redis, keys, count);
  return Object.assign(list, {
    find: async (which: DeadSelection) => {
      const found: DeadLetter[] = [];
      await select(
        redis,
        keys,
        'find',
        which,
        async (page) => (found.push(...page.map(({ letter }) => letter)), 0),
      );
      return found;
    },
    requeue: (which: DeadSelection, onMoved?: OnMoved) => move(redis, keys, 'requeue', which, onMoved),
    drop: (which: DeadSelection, onMoved?: OnMoved) => move(redis, keys, 'drop', which, onMoved),
  });
}

interface Found {
  readonly entry: Buffer;
  readonly letter: DeadLetter;
  /** The nearer end of the list, where the search for it begins. */
  readonly nearer: 'oldest' | 'newest';
}

/** Passes the selected letters to `use` page by page, which returns the number that it removed from the list. */
async function select(
  redis: Redis,
  keys: QueueKeys,
  how: 'find' | 'requeue' | 'drop',
  which: DeadSelection,
  use: (page: readonly Found[]) => Promise<number>,
): Promise<number> {
  const wanted = matcher(which, await redisNow(redis));
  let left = await redis.llen(keys.dead);
  let taken = 0;
  for (let kept = 0; left > 0;) {
    const entries = await redis.lrangeBuffer(keys.dead, -(kept + Math.min(PAGE, left)), -(kept + 1));
    if (entries.length === 0) break;
    const newer = left;
    const older = kept;
    const page = entries.toReversed().flatMap((entry, i): Found[] => {
      const letter = readLetter(entry);
      // a foreign entry has no task to requeue
      return wanted(letter) && !(how === 'requeue' && letter.foreign)
        ? [{ entry, letter, nearer: newer - i < older + i ? 'newest' : 'oldest' }]
        : [];
    });
    const gone = page.length === 0 ? 0 : await use(page);
    taken += gone;
    left -= entries.length;
    kept += entries.length - gone;
  }
  return taken;
}

async function move(
  redis: Redis,
  keys: QueueKeys,
  how: 'requeue' | 'drop',
  which: DeadSelection,
  onMoved: OnMoved = () => undefined,
): Promise<number> {
  await using requests = openRequests(redis, keys);
  return await select(redis, keys, how, which, async (page) => {
    const moves = page.map((found) => moveOne(redis, keys, how, found, requests));
    const count = (await Promise.all(moves)).filter(Boolean).length;
    onMoved(count);
    return count;
  });
}

/** Resolves to whether it was in the list. */
async function moveOne(
  redis: Redis,
  { queue, dead, errors, cancelled }: QueueKeys,
  how: 'requeue' | 'drop',
  { entry, letter, nearer }: Found,
  requests: Requests,
): Promise<boolean> {
  const args = [how, entry, letter.id ?? letter.raw, nearer];
  const moved = await requests.send(
    (answers, about) => script(redis, 'letter')(queue, dead, errors, cancelled, answers, ...args, about),
    (reply) => reply === 1,
  );
  return moved === 1;
}

function matcher(which: DeadSelection, now: number): (letter: DeadLetter) => boolean {
  if (which === 'all') return () => true;
  const { ids, error, olderThanMs } = which;
  if (ids === undefined && error === undefined && olderThanMs === undefined)
    throw new TypeError("no condition is given: name ids, an error or an age, or say 'all'");
  const wanted = ids && new Set(ids.map(hex));
  return (letter) =>
    (wanted === undefined || wanted.has(hex(letter.id ?? letter.raw))) &&
    (error === undefined ||
      (typeof error === 'string' ? letter.error.includes(error) : letter.error.search(error) >= 0)) &&
    (olderThanMs === undefined || (letter.at > 0 && letter.at <= now - olderThanMs));
}

/** Ids may be any bytes, so they are compared in hex. */
const hex = (id: string | Buffer): string => Buffer.from(id).toString('hex');
