/**
 * What is left in Millrace's own keys when all tasks are settled. Graves of lost workers stay for a while by design, so
 * this waits for them to be swept by those who live; afterwards nothing may be there but living workers and counters.
 */
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { eventually } from '../support/eventually.ts';
import type { Fleet } from './fleet.ts';
import type { Task } from './tasks.ts';

/** A grave lasts twice as long as a blocking move may; then a worker looks three times per lease. */
const GRAVES_MS = 20_000;

/** Resolves to one line for each thing that should not be there after `withinMs`; to none as soon as there is none. */
export async function leftovers(
  redis: Redis,
  keys: QueueKeys,
  fleet: Pick<Fleet, 'pods'>,
  past: ReadonlySet<string>,
  withinMs = GRAVES_MS,
): Promise<string[]> {
  let found: string[] = [];
  try {
    await eventually(
      async () => {
        found = await look(redis, keys, new Set(fleet.pods.map(({ id }) => id)), past);
        if (found.length > 0) throw new Error('something is left');
      },
      { withinMs, everyMs: 250 },
    );
  } catch {
    return found;
  }
  return [];
}

/** What stays for good, and what belongs to one living worker. */
async function look(
  redis: Redis,
  keys: QueueKeys,
  living: ReadonlySet<string>,
  past: ReadonlySet<string>,
): Promise<string[]> {
  const base = keys.stats.slice(0, -'stats'.length);
  const found: string[] = [];
  for (const key of await redis.keys(`${base.replaceAll(/[[\]*?\\]/g, String.raw`\$&`)}*`)) {
    const [name = '', worker] = key.slice(base.length).split(':');
    if (['stats', 'dead', 'errors', 'expiry'].includes(name)) continue;
    // what a worker died of, for as long as somebody may ask
    if (name === 'fate' && (await redis.pttl(key)) > 0) continue;
    if (name === 'history' && (await redis.hkeys(key)).every((field) => past.has(field))) continue;
    if (worker !== undefined) {
      if (name !== 'worker' || !living.has(worker)) found.push(`the key ${key}`);
    } else if (name === 'workers' || name === 'load') {
      const names = name === 'workers' ? await redis.zrange(key, '0', '-1') : await redis.hkeys(key);
      for (const entry of names) if (!living.has(entry)) found.push(`${entry} in ${key}`);
    } else found.push(`the key ${key}`);
  }
  const waiting = await redis.llen(keys.queue);
  if (waiting > 0) found.push(`${waiting} tasks in ${keys.queue}`);
  return found;
}

/** Fields of the history for what plain workers took: they do not know that a task has a past, and leave it there. */
export function pastOf(tasks: readonly Task[], plain: readonly string[]): ReadonlySet<string> {
  const taken = new Set(plain);
  const digest = (raw: string): string =>
    raw.length <= 40 ? `=${raw}` : `#${createHash('sha1').update(raw).digest('hex')}`;
  return new Set(tasks.filter(({ id }) => taken.has(id)).map(({ raw }) => digest(raw)));
}
