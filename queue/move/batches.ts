/**
 * Moves tasks, delayed ones, dead letters and counters: batch after batch out of the old place into a hand there, into the new place,
 * and out of the hand. A process may end between any two of these: the next one finds the batch in the hand and sends it again, and
 * the new place knows the numbers that it has (move-out.lua, move-in.lua).
 */
import type { QueueKeys } from '../keys.ts';
import { script } from '../scripts/scripts.ts';
import { distribute, ITEMS, type Batch, type Kind } from './batch.ts';
import { lossOf, noteCaughtUp, type Claim } from './claim.ts';
import { clocksApart, type Side } from './side.ts';

/** A batch ends with the task that reaches one of these. */
const MOST_TASKS = 2_000;
const MOST_BYTES = 1 << 20;

/** One list of a queue on its way. */
export interface Route {
  readonly source: Side;
  readonly destination: Side;
  readonly claim: Claim;
  readonly to: readonly QueueKeys[];
  /** By how much the destination's clock is ahead, ms. */
  readonly aheadMs: number;
  /** Tasks that go ahead of what was pushed to the destination since the move began. */
  backlog: number;
  /** All of them have arrived. */
  caughtUp: boolean;
  /** The batch that has arrived last. */
  arrived: string;
}

/** Prepares the way of a queue that is claimed and marked. */
export async function openRoute(
  source: Side,
  destination: Side,
  claimed: Claim,
  to: readonly [QueueKeys, ...QueueKeys[]],
): Promise<Route> {
  const { keys } = claimed;
  const from = source.at(keys.queue);
  const [caughtUp, waiting, aside] = await source.ask(
    Promise.all([from.hexists(keys.move, 'caughtUp'), from.llen(keys.queue), from.llen(keys.suspects)]),
  );
  const aheadMs = await destination.ask(clocksApart(from, destination.at(to[0].queue)));
  return {
    source,
    destination,
    claim: claimed,
    to,
    aheadMs,
    backlog: waiting + aside,
    caughtUp: caughtUp === 1,
    arrived: '',
  };
}

/** Moves all of one kind. Stops between two batches when `signal` aborts. */
export async function moveKind(
  route: Route,
  kind: Kind,
  onMoved: (kind: Kind, count: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (;;) {
    const batch = await nextBatch(route, kind);
    if (!batch) return;
    await deliver(route, batch);
    route.arrived = batch.number;
    const count = batch.items.length / ITEMS[batch.kind];
    if (batch.kind === 'queue' || batch.kind === 'suspects')
      route.backlog = Math.max(0, route.backlog - count);
    onMoved(batch.kind, count);
    if (signal?.aborted) {
      // out of the hand, so that nothing is between two places
      await nextBatch(route, kind, 0);
      return;
    }
  }
}

/** The next batch, or the one in hand; `most`: 0 takes none. */
async function nextBatch(route: Route, kind: Kind, most = MOST_TASKS): Promise<Batch | undefined> {
  const { source, claim } = route;
  const { keys, process, leaseMs } = claim;
  const { move, moving, history, pasts } = keys;
  const call = script(source.at(keys.queue), 'move-out');
  const reply = await source.ask(
    call(move, moving, keys[kind], history, pasts, process, leaseMs, route.arrived, kind, most, MOST_BYTES),
  );
  const [status, number, of, , , items] = reply as [number, Buffer, Buffer, number, number, Buffer[]];
  if (status === 0) throw await lossOf(source, keys);
  if (number.length === 0) return undefined;
  return { number: number.toString(), kind: of.toString() as Kind, items };
}

async function deliver(route: Route, batch: Batch): Promise<void> {
  const { destination, claim, to } = route;
  const shares = distribute(batch, to.length, route.aheadMs);
  const backlog = !route.caughtUp && route.backlog > 0 ? '1' : '0';
  const sent = to.map(async (keys, i) => {
    const share = shares[i] ?? [];
    if (share.length === 0) return 1;
    const { arrivals, queue, delayed, dead, stats, history, pasts } = keys;
    const call = script(destination.at(queue), 'move-in');
    const all = [arrivals, queue, delayed, dead, stats, history, pasts];
    return await call(...all, claim.id, batch.number, batch.kind, backlog, ...share);
  });
  const replies = await destination.ask(Promise.all(sent));
  if (replies.includes(-1))
    throw new Error(
      `the destination no longer knows this move: it has lost data since, or it is another server; ` +
        `nothing was written to it, and ${batch.items.length / ITEMS[batch.kind]} tasks are in "${claim.keys.moving}" of the source`,
    );
}

/** From now on, tasks arrive like pushes. */
export async function catchUp(route: Route): Promise<void> {
  if (route.caughtUp) return;
  await noteCaughtUp(route.source, route.claim);
  route.caughtUp = true;
}
