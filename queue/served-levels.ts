/**
 * Which priorities of a queue are served, as its key `priorities` says: `open`, or `closed` where what waits is not served any more. A push
 * to one that is not open is refused (push.lua), so that no task waits where no worker takes it.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';
import { isLevel, levelKeys, LEVELS, type Level } from './priorities.ts';
import { asList } from './scripts/decode-reply.ts';
import { readCut } from './scripts/read.ts';

/** Of a state, bytes. */
const LONGEST = 16;

/** Beside it: workers outside of a pool serve it, so it stays open when a pool ends. */
const announced = (level: Level): string => `${level}:workers`;

/** The same: the pool of this uid serves it. A pool that finds its own on what it serves no more knows that Redis went back in time. */
const served = (level: Level, uid: string): string => `${level}:pool:${uid}`;

/** Those that may hold tasks or dead letters, open or closed. */
export async function readLevels(redis: Redis, { priorities }: QueueKeys): Promise<Level[]> {
  return (await redis.hkeys(priorities)).filter(isLevel);
}

/** Those that tasks may be pushed to. */
export async function readOpenLevels(redis: Redis, { priorities }: QueueKeys): Promise<Level[]> {
  const cut = { bytes: LONGEST, values: LEVELS.length };
  const found = asList(
    await readCut(redis, priorities, cut, 'HMGET', ...LEVELS),
    'the priorities of a queue',
  );
  return LEVELS.filter((_, i) => String(found[i]) === 'open');
}

/** Those that the pool of this uid is noted to serve. */
export async function readLevelsOf(redis: Redis, { priorities }: QueueKeys, uid: string): Promise<Level[]> {
  const cut = { bytes: LONGEST, values: LEVELS.length };
  const fields = LEVELS.map((level) => served(level, uid));
  const found = asList(
    await readCut(redis, priorities, cut, 'HMGET', ...fields),
    'the priorities of a queue',
  );
  return LEVELS.filter((_, i) => String(found[i]) === 'open');
}

/** `uid`: of the pool that serves them. */
export async function openLevels(
  redis: Redis,
  keys: QueueKeys,
  levels: readonly Level[],
  uid?: string,
): Promise<void> {
  await mark(redis, keys, levels, 'open');
  if (uid !== undefined && levels.length > 0)
    await redis.hset(keys.priorities, ...levels.flatMap((level) => [served(level, uid), 'open']));
}

/** The pool of this uid serves them no more. */
export async function leaveLevels(
  redis: Redis,
  { priorities }: QueueKeys,
  levels: readonly Level[],
  uid: string,
): Promise<void> {
  if (levels.length > 0) await redis.hdel(priorities, ...levels.map((level) => served(level, uid)));
}

/** The same, by a worker: one that is new is paused if the queue is, and only then. */
export async function announceLevels(redis: Redis, keys: QueueKeys, levels: readonly Level[]): Promise<void> {
  const known = await readLevels(redis, keys);
  const added = levels.filter((level) => !known.includes(level));
  const pause = added.length > 0 ? await redis.get(keys.paused) : null;
  for (const { paused } of added.map((level) => levelKeys(keys, level)))
    await (pause === null ? redis.del(paused) : redis.set(paused, pause));
  await openLevels(redis, keys, levels);
  if (levels.length > 0)
    await redis.hset(keys.priorities, ...levels.flatMap((level) => [announced(level), 'open']));
}

/** No more is pushed to them, but for those that workers have announced; what waits there is not touched. */
export async function closeLevels(redis: Redis, keys: QueueKeys, levels: readonly Level[]): Promise<void> {
  await mark(redis, keys, await withoutAnnounced(redis, keys, levels), 'closed');
}

async function withoutAnnounced(
  redis: Redis,
  { priorities }: QueueKeys,
  levels: readonly Level[],
): Promise<Level[]> {
  if (levels.length === 0) return [];
  const cut = { bytes: LONGEST, values: levels.length };
  const reply = await readCut(redis, priorities, cut, 'HMGET', ...levels.map(announced));
  const found = asList(reply, 'the priorities of a queue');
  return levels.filter((_, i) => String(found[i]) !== 'open');
}

async function mark(
  redis: Redis,
  { priorities }: QueueKeys,
  levels: readonly Level[],
  as: 'open' | 'closed',
): Promise<void> {
  if (levels.length > 0) await redis.hset(priorities, ...levels.flatMap((level) => [level, as]));
}

/** Nothing is in them any more, and no worker has announced them. One that is added again is paused only if the queue is by then. */
export async function forgetLevels(redis: Redis, keys: QueueKeys, all: readonly Level[]): Promise<void> {
  const levels = await withoutAnnounced(redis, keys, all);
  if (levels.length === 0) return;
  await redis.del(...levels.map((level) => levelKeys(keys, level).paused));
  await redis.hdel(keys.priorities, ...levels);
}
