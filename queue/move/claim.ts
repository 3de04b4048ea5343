/**
 * Who moves a queue: one process at a time (move/hold.lua). The record of a move is in the queue's old place, and a mark of it in
 * each new one (`arrivals`), so that a process that goes on with it later goes on to the same place, whatever it is called by then.
 */
import { randomUUID } from 'node:crypto';
import { sleep } from '../../runtime/timers.ts';
import type { QueueKeys } from '../keys.ts';
import { script } from '../scripts/scripts.ts';
import type { Side } from './side.ts';

/** How often the lease of another process is read, ms. */
const POLL_MS = 100;

/** Another process moves this queue. */
export class MoveTaken extends Error {
  override name = 'MoveTaken';
  constructor(queue: string) {
    super(`another millrace move is moving "${queue}" right now: wait for it, or end it first`);
  }
}

/** The old place no longer knows the move: it went back in time, or `--abandon` has ended the move. */
export class MoveForgotten extends Error {
  override name = 'MoveForgotten';
  constructor(queue: string) {
    super(
      `the source no longer has the record of this move of "${queue}": it has lost data, or the move was abandoned. What has arrived ` +
        `stays in the destination: move the rest with --merge`,
    );
  }
}

/** Why a process that had claimed a queue has lost it. */
export async function lossOf(source: Side, { queue, move }: QueueKeys): Promise<MoveTaken | MoveForgotten> {
  const known = await source.ask(source.at(queue).hexists(move, 'id'));
  return known === 1 ? new MoveTaken(queue) : new MoveForgotten(queue);
}

/** A move that was begun went to another place. */
export class MovedElsewhere extends Error {
  override name = 'MovedElsewhere';
}

export interface Claim {
  readonly keys: QueueKeys;
  readonly id: string;
  readonly process: string;
  readonly leaseMs: number;
  /** An earlier process began it. */
  readonly resumed: boolean;
}

/** Claims a queue, waiting for the lease of a process that may have died. Throws `MoveTaken`. */
export async function claim(source: Side, keys: QueueKeys, process: string, leaseMs: number): Promise<Claim> {
  const begin = (): Promise<unknown> => hold(source, { keys, process, leaseMs }, 'begin', randomUUID());
  let ended: number | undefined;
  for (;;) {
    const [status, first, second, to] = (await begin()) as [number, Buffer | number, number, Buffer];
    if (status === 1) {
      return { keys, process, leaseMs, id: first.toString(), resumed: to.length > 0 };
    }
    const ends = Number(first);
    // renewed: that process lives
    if (ended !== undefined && ends > ended) throw new MoveTaken(keys.queue);
    ended = ends;
    await sleep(Math.min(POLL_MS, Math.max(0, ends - second) + 1));
  }
}

/**
 * Marks the move in its new place, or checks that it is marked there. Throws `MovedElsewhere` if it went to another one.
 */
export async function markDestination(
  source: Side,
  destination: Side,
  claimed: Claim,
  to: readonly QueueKeys[],
): Promise<void> {
  const names = JSON.stringify(to.map(({ queue, result }) => [queue, result]));
  const { keys, id } = claimed;
  const before = await source.ask(source.at(keys.queue).hget(keys.move, 'to'));
  if (before !== null) {
    const marks = to.map((one) => destination.at(one.queue).hexists(one.arrivals, id));
    const found = await destination.ask(Promise.all(marks));
    if (before === names && found.every((mark) => mark === 1)) return;
    const closed = to.map((one) => destination.at(one.queue).hexists(one.arrivals, closedMark(id)));
    if ((await destination.ask(Promise.all(closed))).includes(1))
      throw new MovedElsewhere(`the move of "${keys.queue}" is being abandoned: do that to the end`);
    throw new MovedElsewhere(
      `the move of "${keys.queue}" that was begun goes to ${described(before)}` +
        `${before === names ? ' in another Redis' : ''}: finish it with the flags of that time`,
    );
  }
  await destination.ask(
    Promise.all(to.map((one) => destination.at(one.queue).hsetnx(one.arrivals, id, '0'))),
  );
  await hold(source, claimed, 'ready', names);
}

/** The field of a move that its destination accepts no more of: see move/close.lua. */
export const closedMark = (id: string): string => `closed:${id}`;

/** The names in a record, shortened. */
function described(names: string): string {
  const queues = (JSON.parse(names) as [string, string][]).map(([queue]) => `"${queue}"`);
  return queues.length > 2 ? `${queues[0]} … ${queues.at(-1)} (${queues.length} lists)` : queues.join(', ');
}

/** Renews the lease. Throws `MoveTaken` if another process has taken over, `MoveForgotten` if there is no record of the move. */
export async function renew(source: Side, claimed: Claim): Promise<void> {
  const [status] = (await hold(source, claimed, 'renew')) as [number];
  if (status === 0) throw await lossOf(source, claimed.keys);
}

/** The backlog is moved: what comes now is no older than what is pushed to the destination. */
export async function noteCaughtUp(source: Side, claimed: Claim): Promise<void> {
  await hold(source, claimed, 'caughtUp');
}

/** Another process may go on with it. */
export async function release(source: Side, claimed: Claim): Promise<void> {
  await hold(source, claimed, 'release');
}

/** Ends a move: nothing of it is left in either place. Throws `MoveTaken` if another process has taken over. */
export async function endMove(
  source: Side,
  destination: Side,
  claimed: Claim,
  to: readonly QueueKeys[],
): Promise<void> {
  const [status] = (await hold(source, claimed, 'end')) as [number];
  // without a record it has ended, and only the reply was lost
  if (status === 0 && (await lossOf(source, claimed.keys)) instanceof MoveTaken)
    throw new MoveTaken(claimed.keys.queue);
  await destination.ask(
    Promise.all(
      to.map(({ queue, arrivals }) =>
        destination.at(queue).hdel(arrivals, claimed.id, `newest:${claimed.id}`),
      ),
    ),
  );
}

async function hold(
  source: Side,
  { keys, process, leaseMs }: Pick<Claim, 'keys' | 'process' | 'leaseMs'>,
  how: 'begin' | 'renew' | 'ready' | 'caughtUp' | 'release' | 'end',
  about = '',
): Promise<unknown> {
  const call = script(source.at(keys.queue), 'move-hold');
  return await source.ask(call(keys.move, keys.moving, how, process, leaseMs, about));
}
