/**
 * What is left in Millrace's own keys when all tasks are settled and all workers have left. Graves of lost workers stay for
 * a while by design, so this waits for the controller to sweep them; afterwards nothing may be there but counters.
 */
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import { eventually } from '../support/eventually.ts';

/** A grave lasts twice as long as a blocking move may, which is 5 s. */
const GRAVES_MS = 20_000;

/** Resolves to one line for each thing that should not be there after `withinMs`; to none as soon as there is none. */
export async function leftovers(
  redisOf: RedisOf,
  queues: readonly QueueKeys[],
  past: ReadonlySet<string>,
  withinMs = GRAVES_MS,
): Promise<string[]> {
  let found: string[] = [];
  try {
    await eventually(
      async () => {
        found = (await Promise.all(queues.map((keys) => look(redisOf(keys), keys, past)))).flat();
        if (found.length > 0) throw new Error('something is left');
      },
      { withinMs, everyMs: 250 },
    );
  } catch {
    return found;
  }
  return [];
}

/** Keys that nothing keeps, and tasks that nobody took; a key with a time to live goes by itself. */
async function look(redis: Redis, keys: QueueKeys, past: ReadonlySet<string>): Promise<string[]> {
  const base = keys.stats.slice(0, -'stats'.length);
  const found: string[] = [];
  for (const key of await redis.keys(`${base.replaceAll(/[[\]*?\\]/g, String.raw`\$&`)}*`)) {
    const name = key.slice(base.length);
    // counters, and what failed for good until its time is over, are meant to stay
    if (['stats', 'dead', 'errors', 'expiry', 'batches', 'shares'].includes(name)) continue;
    // those that only an open batch has are judged with it
    if (/^batch(-\w+)?:/.test(name)) continue;
    if ((await redis.pttl(key)) > 0) continue;
    if (name === 'history' && (await redis.hkeys(key)).every((field) => past.has(field))) continue;
    found.push(`the key ${key}${await contentOf(redis, key, name)}`);
  }
  const waiting = await redis.llen(keys.queue);
  if (waiting > 0) found.push(`${waiting} tasks in ${keys.queue}`);
  return found;
}

/** What tells why a worker's key is still there. */
async function contentOf(redis: Redis, key: string, name: string): Promise<string> {
  if (name === 'workers') return `, with ${(await redis.zrange(key, '0', '-1', 'WITHSCORES')).join(' ')}`;
  if (name.startsWith('wake:')) return `, with ${(await redis.lrange(key, 0, 9)).join(' ')}`;
  if (!name.startsWith('worker:')) return '';
  const fields = ['epoch', 'state', 'ended', 'started', 'at', 'till', 'turn'] as const;
  const values = await redis.hmget(key, ...fields);
  const [now] = await redis.time();
  return `: ${fields.map((field, i) => `${field} ${values[i]}`).join(', ')}; now ${now} s`;
}

/** Fields of the history for what plain workers took: they do not know that a task has a past, and leave it there. */
export function pastOf(plain: readonly string[]): ReadonlySet<string> {
  const digest = (raw: string): string =>
    raw.length <= 40 ? `=${raw}` : `#${createHash('sha1').update(raw).digest('hex')}`;
  return new Set(plain.map(digest));
}
