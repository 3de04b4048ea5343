/**
 * Ends a move that was begun and cannot be finished: what has arrived in the new place stays there, and the batch in hand goes back,
 * unless it has arrived, too. The new place is asked for that, and closed to batches that a process which is late may still send.
 */
import { randomUUID } from 'node:crypto';
import type { RedisAddress } from '../connection/connection.ts';
import { within } from '../connection/within.ts';
import { queueKeys, type QueueKeys } from '../keys.ts';
import { requestOnce } from '../scripts/answers.ts';
import { script } from '../scripts/scripts.ts';
import { distribute, ITEMS, type Batch, type Kind } from './batch.ts';
import { claim, closedMark, lossOf, release, type Claim } from './claim.ts';
import { openSide, type Side, type SideName } from './side.ts';

const LEASE_MS = 5_000;
/** How long the new place may take to answer, ms. */
const ANSWER_MS = 10_000;

/** What a batch of each kind is made of. */
const NAMES: Record<Kind, string> = {
  suspects: 'tasks',
  queue: 'tasks',
  delayed: 'delayed tasks',
  dead: 'dead letters',
  stats: 'counters',
};

export interface AbandonOptions {
  readonly from: RedisAddress;
  /** `undefined` if it cannot be reached. */
  readonly to: RedisAddress | undefined;
  /** Of the old place. */
  readonly queues: readonly QueueKeys[];
  /** Put a batch back even if nobody can tell whether it has arrived. */
  readonly destinationGone?: boolean;
  readonly leaseMs?: number;
  readonly answerMs?: number;
  readonly onError?: (side: SideName, error: Error) => void;
}

/** A move that was ended. */
export interface Abandoned {
  readonly queue: string;
  /** What is back in the queue, e.g. `2000 tasks`; `undefined` if nothing was in hand, or all of it had arrived. */
  readonly returned: string | undefined;
  /** Nobody could tell whether that had arrived. */
  readonly unasked: boolean;
}

/** It cannot be told whether the new place has what is in hand. */
export class ArrivalUnknown extends Error {
  override name = 'ArrivalUnknown';
  /** What is in hand, e.g. `2000 tasks`. */
  readonly held: string;
  readonly queue: string;
  constructor(queue: string, held: string, cause: unknown) {
    super(`${held} of "${queue}" are between the two places, and nobody can tell whether they have arrived`, {
      cause,
    });
    this.held = held;
    this.queue = queue;
  }
}

/** The place that was asked never heard of the move: it is another one, or it has lost data. */
export class UnknownMove extends Error {
  override name = 'UnknownMove';
}

/**
 * Ends the moves of these queues; those that were not moved are left out of the result. Throws `MoveTaken` while a process moves one,
 * `ArrivalUnknown`, and `MoveRefused` for an error of the old place. After any of these, the same call continues.
 */
export async function abandonMoves(options: AbandonOptions): Promise<Abandoned[]> {
  const { from, to, queues, onError, leaseMs = LEASE_MS } = options;
  await using source = openSide('source', from, (error) => onError?.('source', error));
  await using destination = to && openSide('destination', to, (error) => onError?.('destination', error));
  const process = randomUUID();
  const ended: Abandoned[] = [];
  for (const keys of queues) {
    const claimed = await claim(source, keys, process, leaseMs);
    try {
      const one = await abandon(source, destination, claimed, options);
      if (one) ended.push(one);
    } finally {
      // does nothing where the record is gone
      await release(source, claimed).catch(() => undefined);
    }
  }
  return ended;
}

async function abandon(
  source: Side,
  destination: Side | undefined,
  claimed: Claim,
  { destinationGone = false, answerMs = ANSWER_MS }: AbandonOptions,
): Promise<Abandoned | undefined> {
  const { keys, id } = claimed;
  const { names, batch } = await inHand(source, keys);
  if (names === undefined) return undefined;
  const to = names.map(([queue, result]) => queueKeys(queue, result));
  const lasts = await lastArrivals(destination, id, to, answerMs);
  const unasked = lasts instanceof Error;
  if (batch && unasked && !destinationGone) throw new ArrivalUnknown(keys.queue, heldIn(batch), lasts);
  const arrived = batch && !unasked ? positionsOfArrived(batch, lasts) : [];
  const back = await putBack(source, claimed, batch, arrived);
  if (destination && !unasked) await forget(destination, id, to);
  return {
    queue: keys.queue,
    returned: batch && back > 0 ? `${back} ${NAMES[batch.kind]}` : undefined,
    unasked: unasked && back > 0,
  };
}

/** Names are `undefined` where no move has begun. */
async function inHand(
  source: Side,
  { queue, move, moving }: QueueKeys,
): Promise<{ readonly names?: readonly [string, string][]; readonly batch?: Batch }> {
  const redis = source.at(queue);
  const [[to, number, kind], items] = await source.ask(
    Promise.all([redis.hmget(move, 'to', 'number', 'kind'), redis.lrangeBuffer(moving, 0, -1)]),
  );
  if (!to) return {};
  const names = JSON.parse(to) as [string, string][];
  return number && kind ? { names, batch: { number, kind: kind as Kind, items } } : { names };
}

const heldIn = ({ kind, items }: Batch): string => `${items.length / ITEMS[kind]} ${NAMES[kind]}`;

/** The number of the last batch in each list of the new place, which is closed to more; or why that is unknown. */
async function lastArrivals(
  destination: Side | undefined,
  id: string,
  to: readonly QueueKeys[],
  answerMs: number,
): Promise<number[] | Error> {
  if (!destination) return new Error('the destination cannot be reached');
  try {
    const closed = to.map(({ queue, arrivals }) => script(destination.at(queue), 'move-close')(arrivals, id));
    const lasts = (await within(answerMs, Promise.all(closed), 'move-close')).map(String);
    if (lasts.includes('')) return new UnknownMove('the destination does not know this move');
    return lasts.map(Number);
  } catch (error) {
    return error as Error;
  }
}

/** From 1, as move/back.lua counts them. */
function positionsOfArrived(batch: Batch, lasts: readonly number[]): number[] {
  const has = lasts.map((last) => Number(batch.number) <= last);
  const width = ITEMS[batch.kind];
  return Array.from({ length: batch.items.length / width }, (_, i) => i + 1).filter((position) => {
    const items = batch.items.slice((position - 1) * width, position * width);
    const share = distribute({ ...batch, items }, lasts.length, 0).findIndex(({ length }) => length > 0);
    // counters that are sent to no partition belong to the first one's
    return has[Math.max(0, share)];
  });
}

async function putBack(
  source: Side,
  { keys, process }: Claim,
  batch: Batch | undefined,
  arrived: readonly number[],
): Promise<number> {
  const { queue, move, moving, history, pasts } = keys;
  const redis = source.at(queue);
  const places = [move, moving, keys[batch?.kind ?? 'queue'], history, pasts];
  const reply = requestOnce(
    redis,
    keys,
    (answers, about) =>
      script(redis, 'move-back')(...places, answers, process, batch?.number ?? '', ...arrived, about),
    (told) => (told as number[])[0] === 1,
  );
  const [status, back = 0] = (await source.ask(reply)) as number[];
  if (status === 0) throw await lossOf(source, keys);
  return back;
}

/** Nothing of the move is left in the new place. What cannot be removed does no harm. */
async function forget(destination: Side, id: string, to: readonly QueueKeys[]): Promise<void> {
  const removed = to.map(({ queue, arrivals }) => destination.at(queue).hdel(arrivals, closedMark(id)));
  await within(ANSWER_MS, Promise.all(removed), 'HDEL').catch(() => undefined);
}
