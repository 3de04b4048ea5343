/** `millrace move --abandon`: ends a move that was begun and cannot be finished. */
import { abandonMoves, ArrivalUnknown, UnknownMove, type Abandoned } from '../../queue/move/abandon.ts';
import { MoveRefused } from '../../queue/move/side.ts';
import { addressName } from '../../queue/connection/connection.ts';
import { failurePrefix } from '../../runtime/failure-line.ts';
import { UsageError } from '../../runtime/program.ts';
import { withPlace } from '../access/access.ts';
import { destinationOf } from '../access/destination.ts';
import { checkOwnQueues } from '../access/own-queues.ts';
import type { Place } from '../access/place.ts';
import type { MoveFlags } from './move.ts';

/** Flags of a move that goes on, which mean nothing to its end. */
const OF_A_MOVE = ['merge', 'follow', 'quiet', 'wait'] as const;

/** Prints what went back. Fails in one line if it cannot be told whether something has arrived. */
export async function abandonMove(flags: MoveFlags): Promise<void> {
  const stray = OF_A_MOVE.find((name) => flags[name] !== undefined);
  if (stray !== undefined) throw new UsageError(`--abandon ends a move: omit --${stray}`);
  const destination = destinationOf(flags);
  await withPlace(flags, async (from) => {
    checkOwnQueues(from);
    if (!destination.flags) return await abandon(from, from, flags);
    let reached = false;
    try {
      await withPlace(destination.flags, async (to) => {
        reached = true;
        await abandon(from, to, flags);
      });
    } catch (error) {
      if (reached || error instanceof UsageError) throw error;
      await abandon(from, error as Error, flags);
    }
  });
}

/** `to`: the destination, or why it cannot be reached. */
async function abandon(from: Place, to: Place | Error, { destinationGone }: MoveFlags): Promise<void> {
  const there = to instanceof Error ? undefined : to;
  try {
    const ended = await abandonMoves({
      from: from.address,
      to: there?.address,
      queues: from.queues,
      destinationGone: destinationGone === true,
    });
    process.stdout.write(summary(ended, from));
    for (const { queue, returned } of ended.filter(({ unasked }) => unasked))
      process.stderr.write(
        `${failurePrefix('millrace')}the destination was not asked whether it has the ${returned} of "${queue}" that went back: if it has, they run twice\n`,
      );
  } catch (error) {
    throw explained(error, from, to);
  }
}

function explained(error: unknown, from: Place, to: Place | Error): unknown {
  if (error instanceof MoveRefused) return new Error(from.describe(error.cause), { cause: error });
  if (!(error instanceof ArrivalUnknown)) return error;
  const { cause } = error;
  const why = to instanceof Error ? to.message : described(cause, to);
  return new Error(
    `${error.message} (${why}): give the destination as in the move; if it is gone for good, add --destination-gone, ` +
      'and they go back into the queue, where those that have arrived run again',
    { cause: error },
  );
}

/** An error of the server, or what it does not know. */
function described(error: unknown, { address, describe }: Place): string {
  return error instanceof UnknownMove ? `${addressName(address)} does not know this move` : describe(error);
}

function summary(ended: readonly Abandoned[], { queues }: Place): string {
  if (ended.length === 0)
    return `nothing to abandon: no move of "${queues[0].queue}" was begun, or it is finished\n`;
  return ended
    .map(
      ({ queue, returned }) =>
        `the move of "${queue}" is abandoned: ${returned ?? 'nothing'} went back into it; what has arrived stays where it is\n`,
    )
    .join('');
}
