/** The actions of the dashboard. */
import { moveDeadLetters } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import { pauseQueue, resumeQueue } from '../../queue/pause.ts';
import type { Action } from './api.ts';
import type { BatchReader } from './read/batches.ts';
import type { DetailsReader } from './read/details.ts';

const MOST_REFS = 500;
const LONGEST_REASON = 200;

/** Parses an action from a request's body; `undefined` if it is not one. */
export function parseAction(value: unknown): Action | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { do: what, refs, ref, reason } = value as Record<string, unknown>;
  if (what === 'cancel-batch') return typeof ref === 'string' ? { do: what, ref } : undefined;
  if (what === 'resume') return { do: what };
  if (what === 'pause' && typeof reason === 'string')
    return { do: what, reason: reason.replaceAll(/\s+/g, ' ').trim().slice(0, LONGEST_REASON) };
  if (what !== 'requeue' && what !== 'drop') return undefined;
  if (refs === 'all') return { do: what, refs };
  if (!Array.isArray(refs) || refs.length === 0 || refs.length > MOST_REFS) return undefined;
  return refs.every((one) => typeof one === 'string') ? { do: what, refs } : undefined;
}

/** Performs an action in all queues of the pool; returns the number of dead letters, batches or queues affected. */
export async function runAction(
  action: Action,
  redisOf: RedisOf,
  queues: readonly QueueKeys[],
  readers: { readonly details: DetailsReader; readonly batches: BatchReader },
): Promise<number> {
  if (action.do === 'cancel-batch') return await readers.batches.cancel(redisOf, queues, action.ref);
  if (action.do === 'pause') {
    await Promise.all(queues.map((keys) => pauseQueue(redisOf(keys), keys, action.reason)));
    return queues.length;
  }
  if (action.do === 'resume') {
    const were = await Promise.all(queues.map((keys) => resumeQueue(redisOf(keys), keys)));
    return were.filter(Boolean).length;
  }
  const { do: how, refs } = action;
  const named = refs === 'all' ? undefined : await readers.details.find(redisOf, queues, refs);
  const moved = queues.map((keys) =>
    moveDeadLetters(redisOf(keys), keys, how, named ? (named.get(keys) ?? []) : 'all'),
  );
  return (await Promise.all(moved)).reduce((sum, count) => sum + count, 0);
}
