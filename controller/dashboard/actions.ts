/** The actions of the dashboard. */
import type { Redis } from 'ioredis';
import { moveDeadLetters } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { pauseQueue, resumeQueue } from '../../queue/pause.ts';
import type { Action } from './api.ts';
import type { DetailsReader } from './details.ts';

const MOST_REFS = 500;
const LONGEST_REASON = 200;

/** Parses an action from a request's body; `undefined` if it is not one. */
export function parseAction(value: unknown): Action | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { do: what, refs, reason } = value as Record<string, unknown>;
  if (what === 'resume') return { do: what };
  if (what === 'pause' && typeof reason === 'string')
    return { do: what, reason: reason.replaceAll(/\s+/g, ' ').trim().slice(0, LONGEST_REASON) };
  if (what !== 'requeue' && what !== 'drop') return undefined;
  if (refs === 'all') return { do: what, refs };
  if (!Array.isArray(refs) || refs.length === 0 || refs.length > MOST_REFS) return undefined;
  return refs.every((ref) => typeof ref === 'string') ? { do: what, refs } : undefined;
}

/** Performs an action in all queues of the pool; returns the number of dead letters or queues affected. */
export async function runAction(
  action: Action,
  redis: Redis,
  queues: readonly QueueKeys[],
  details: DetailsReader,
): Promise<number> {
  if (action.do === 'pause') {
    await Promise.all(queues.map((keys) => pauseQueue(redis, keys, action.reason)));
    return queues.length;
  }
  if (action.do === 'resume') {
    const were = await Promise.all(queues.map((keys) => resumeQueue(redis, keys)));
    return were.filter(Boolean).length;
  }
  const { do: how, refs } = action;
  const named = refs === 'all' ? undefined : await details.find(redis, queues, refs);
  const moved = queues.map((keys) =>
    moveDeadLetters(redis, keys, how, named ? (named.get(keys) ?? []) : 'all'),
  );
  return (await Promise.all(moved)).reduce((sum, count) => sum + count, 0);
}
