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

export async function openLevels(redis: Redis, keys: QueueKeys, levels: readonly Level[]): Promise<void> {
  await mark(redis, keys, levels, 'open');
}

/** The same, by a worker: one that is new is paused if the queue is, and only then. */
export async function announceLevels(redis: Redis, keys: QueueKeys, levels: readonly Level[]): Promise<void> {
  const known = await readLevels(redis, keys);
  const added = levels.filter((level) => !known.includes(level));
  const pause = added.length > 0 ? await redis.get(keys.paused) : null;
  for (const { paused } of added.map((level) => levelKeys(keys, level)))
    await (pause === null ? redis.del(paused) : redis.set(paused, pause));
  await openLevels(redis, keys, levels);
}

/** No more is pushed to them; what waits there is not touched. */
export async function closeLevels(redis: Redis, keys: QueueKeys, levels: readonly Level[]): Promise<void> {
  await mark(redis, keys, levels, 'closed');
}

async function mark(
  redis: Redis,
  { priorities }: QueueKeys,
  levels: readonly Level[],
  as: 'open' | 'closed',
): Promise<void> {
  if (levels.length > 0) await redis.hset(priorities, ...levels.flatMap((level) => [level, as]));
}

/** Nothing is in them any more. One that is added again is paused only if the queue is by then. */
export async function forgetLevels(redis: Redis, keys: QueueKeys, levels: readonly Level[]): Promise<void> {
  if (levels.length === 0) return;
  await redis.del(...levels.map((level) => levelKeys(keys, level).paused));
  await redis.hdel(keys.priorities, ...levels);
}
