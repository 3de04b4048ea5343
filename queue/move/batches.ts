/**
 * Moves tasks, delayed ones, dead letters and counters: batch after batch out of the old place into a hand there, into the new place,
 * and out of the hand. A process may end between any two of these: the next one finds the batch in the hand and sends it again, and
 * the new place knows the numbers that it has (move/out.lua, move/in.lua).
 */
import type { QueueKeys } from '../keys.ts';
import { script } from '../scripts/scripts.ts';
import { distribute, ITEMS, type Batch, type Kind } from './batch.ts';
import { lossOf, noteCaughtUp, type Claim } from './claim.ts';
import { clocksApart, type Side } from './side.ts';
import { endKeys, heldKeys, packKeys, type HeldKey } from './unique-keys.ts';

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
  aheadMs: number;
  /** Tasks that go ahead of what was pushed to the destination since the move began. */
  backlog: number;
  /** All of them have arrived. */
  caughtUp: boolean;
  /** Nothing waited in the old place when its tasks were moved last. */
  emptied: boolean;
  /** The batch that has arrived last. */
  arrived: string;
  /** The highest number of a batch that a list of the destination has seen. */
  seen: number;
}

type RouteEnds = Pick<Route, 'source' | 'destination' | 'claim' | 'to'>;

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
  const aheadMs = await clocksOf({ source, destination, claim: claimed, to });
  const lasts = to.map(({ queue, arrivals }) => destination.at(queue).hget(arrivals, claimed.id));
  const seen = Math.max(...(await destination.ask(Promise.all(lasts))).map(Number));
  return {
    source,
    destination,
    claim: claimed,
    to,
    aheadMs,
    backlog: waiting + aside,
    caughtUp: caughtUp === 1,
    emptied: false,
    arrived: '',
    seen,
  };
}

/** Clocks are set while a queue is moved, too. */
function clocksOf({ source, destination, claim: { keys }, to }: RouteEnds): Promise<number> {
  const [first = keys] = to;
  return destination.ask(clocksApart(source.at(keys.queue), destination.at(first.queue)));
}

/**
 * Moves all of one kind that is there when it begins, as clients may push faster than it moves. Resolves to whether nothing of that
 * kind was left then. Stops between two batches when `signal` aborts.
 */
export async function moveKind(
  route: Route,
  kind: Kind,
  onMoved: (kind: Kind, count: number) => void,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  let due: number | undefined;
  for (;;) {
    // taking none empties the hand, so that nothing is between two places
    const most = due === 0 || signal?.aborted ? 0 : MOST_TASKS;
    const { batch, left } = await nextBatch(route, kind, most);
    if (!batch) return left === 0;
    if (batch.kind === 'delayed') route.aheadMs = await clocksOf(route);
    const unique = await heldKeys(route.source, route.claim.keys, batch);
    await deliver(route, batch, unique);
    await endKeys(route.source, route.claim.keys, unique);
    route.arrived = batch.number;
    route.seen = Math.max(route.seen, Number(batch.number));
    const count = batch.items.length / ITEMS[batch.kind];
    if (batch.kind === kind) due = Math.max(0, (due ?? count + left) - count);
    if (batch.kind === 'queue' || batch.kind === 'suspects')
      route.backlog = Math.max(0, route.backlog - count);
    onMoved(batch.kind, count);
  }
}

/** The next batch, or the one in hand; `most`: 0 takes none. `left`: how much of the kind is there besides. */
async function nextBatch(
  route: Route,
  kind: Kind,
  most: number,
): Promise<{ readonly batch: Batch | undefined; readonly left: number }> {
  const { source, claim, arrived, seen } = route;
  const { keys, process, leaseMs } = claim;
  const all = [keys.move, keys.moving, keys[kind], keys.history, keys.pasts];
  const call = script(source.at(keys.queue), 'move-out');
  const reply = await source.ask(call(...all, process, leaseMs, arrived, kind, most, MOST_BYTES, seen));
  const [status, number, of, , left, items] = reply as [number, Buffer, Buffer, number, number, Buffer[]];
  if (status === 0) throw await lossOf(source, keys);
  if (number.length === 0) return { batch: undefined, left };
  return { batch: { number: number.toString(), kind: of.toString() as Kind, items }, left };
}

async function deliver(route: Route, batch: Batch, unique: readonly HeldKey[]): Promise<void> {
  const { destination, claim, to } = route;
  const locks = to.length === 1 ? packKeys(unique, route.aheadMs) : '';
  const shares = distribute(batch, to.length, route.aheadMs);
  const backlog = !route.caughtUp && route.backlog > 0 ? '1' : '0';
  const sent = to.map(async (keys, i) => {
    const share = shares[i] ?? [];
    if (share.length === 0) return 1;
    const { arrivals, queue, delayed, dead, stats, history, pasts } = keys;
    const call = script(destination.at(queue), 'move-in');
    const all = [arrivals, queue, delayed, dead, stats, history, pasts];
    return await call(...all, claim.id, batch.number, batch.kind, backlog, locks, ...share);
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
