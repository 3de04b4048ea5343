/** What a queue has that cannot be moved: a move that has it does not begin, and says what to do first. */
import { endMove, type Claim } from './claim.ts';
import { readLevels } from '../served-levels.ts';
import { MoveRefused, type Side } from './side.ts';

/** Throws `MoveRefused` for open batches, for limits and for priorities. What was claimed only for this is let go. */
export async function refuseWhatStays(source: Side, destination: Side, claimed: Claim): Promise<void> {
  const why =
    (await openBatches(source, claimed)) ??
    (await limits(source, claimed)) ??
    (await priorities(source, claimed));
  if (why === undefined) return;
  if (!claimed.resumed) await endMove(source, destination, claimed, []);
  throw new MoveRefused('source', new Error(why));
}

/** Parts are counted where their batch began. A move that has begun keeps new batches from beginning (batch/add.lua). */
async function openBatches(source: Side, { keys }: Claim): Promise<string | undefined> {
  const redis = source.at(keys.queue);
  const open = await source.ask(redis.zrangebyscore(keys.batches, '+inf', '+inf', 'LIMIT', 0, 4));
  if (open.length === 0) return undefined;
  const named = `${open.slice(0, 3).join(', ')}${open.length > 3 ? ', …' : ''}`;
  return `"${keys.queue}" has open batches (${named}), whose parts are counted there: wait until they have ended, or cancel them`;
}

/** What they hold back is counted there. A move that has begun keeps new ones from being set (limits/set.lua). */
async function limits(source: Side, { keys }: Claim): Promise<string | undefined> {
  const redis = source.at(keys.queue);
  if ((await source.ask(redis.exists(keys.limits))) === 0) return undefined;
  return `"${keys.queue}" has limits, which hold tasks back there: remove them (millrace limits --remove; of a pool, spec.limits), move the queue, and set them again`;
}

/** Their lists are queues of their own, and would stay. */
async function priorities(source: Side, { keys }: Claim): Promise<string | undefined> {
  const levels = await source.ask(readLevels(source.at(keys.queue), keys));
  if (levels.length === 0) return undefined;
  return `"${keys.queue}" has priorities (${levels.join(', ')}), whose tasks are in lists beside it: remove spec.priorities of its WorkerPool, wait until they are empty, move the queue, and set them again`;
}
