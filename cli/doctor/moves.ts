/**
 * A move of a queue to another place that was begun, and that no process goes on with: what is still in the queue waits there, and its last
 * batch is in neither place.
 */
import { plainText } from '../../runtime/plain-text.ts';
import { plural } from '../../runtime/plural.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import { redisNow } from '../../queue/connection/connection.ts';
import { ok, warn, type Finding } from './finding.ts';

/** None where the user may not read the record. */
export async function checkMoves(
  queues: readonly QueueKeys[],
  redisOf: RedisOf,
): Promise<readonly Finding[]> {
  const found = queues.map((keys) => moveOf(redisOf, keys).catch(() => []));
  return (await Promise.all(found)).flat();
}

async function moveOf(redisOf: RedisOf, keys: QueueKeys): Promise<Finding[]> {
  const redis = redisOf(keys);
  const [[to, ends], inHand, now] = await Promise.all([
    redis.hmget(keys.move, 'to', 'ends'),
    redis.exists(keys.moving),
    redisNow(redis),
  ]);
  if (typeof to !== 'string') return [];
  const about = `queue ${keys.queue}`;
  const where = `a move of it to ${destinationIn(to)}`;
  if (Number(ends ?? 0) > now) return [ok(about, `${where} is going on`)];
  const between = inHand > 0 ? ', and what it had in hand is in neither place' : '';
  return [
    warn(
      about,
      `${where} was begun, and nobody goes on with it${between}`,
      'run the same millrace move again to finish it, or with --abandon to take back what is between the places',
    ),
  ];
}

/** Its lists, where anybody may have written what they are called. */
function destinationIn(text: string): string {
  try {
    const names = (JSON.parse(text) as unknown[]).map((one) => String((one as unknown[])[0]));
    const [first = '', ...others] = names;
    return `"${plainText(first, 100)}"${others.length > 0 ? ` and ${plural(others.length, 'more list')}` : ''}`;
  } catch {
    return 'another place';
  }
}
