/**
 * The last decisions of a pool, as texts: a LIST beside its first queue, `…:decisions:<namespace>/<name>`, the newest first.
 * The controller defines their format (controller/records/decisions.ts).
 */
import type { Redis } from 'ioredis';
import { patternOf, type QueueKeys } from '../keys.ts';
import { readTexts } from '../scripts/read.ts';
import { script } from '../scripts/scripts.ts';

const KEPT = 100;
/** A decision has 1 to 2 KB; one that was cut does not parse. */
const LONGEST = 8_192;
/** Long enough to ask after the holidays; those of a deleted pool expire. */
const EXPIRY_S = 30 * 24 * 3_600;

/**
 * Adds a decision, or replaces what is there of it: of one decision, all texts begin with `head`. Written again, because the reply was lost, or
 * to a server that has gone back to a time before it, it stands there once.
 */
export async function putDecision(
  redis: Redis,
  keys: QueueKeys,
  pool: string,
  { head, text }: { readonly head: string; readonly text: string },
): Promise<void> {
  await script(redis, 'decision')(keys.decisions(pool), text, head, KEPT, EXPIRY_S);
}

/** The pools, `namespace/name`, that have decisions beside a queue. Scans all keys: for interactive use only. */
export async function recordedPools(redis: Redis, keys: QueueKeys): Promise<string[]> {
  const base = keys.decisions('');
  const pattern = patternOf(base);
  const found = new Set<string>();
  let cursor = '0';
  do {
    const [next, page] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', 10_000);
    for (const key of page) found.add(key.slice(base.length));
    cursor = next;
  } while (cursor !== '0');
  return [...found].toSorted();
}

/** At most `limit` of them, the newest first. */
export function readDecisions(redis: Redis, keys: QueueKeys, pool: string, limit = KEPT): Promise<string[]> {
  const cut = { bytes: LONGEST, values: KEPT };
  return readTexts(redis, keys.decisions(pool), cut, 'LRANGE', 0, Math.min(limit, KEPT) - 1);
}
