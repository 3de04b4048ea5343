/** `millrace move`: a queue to another Redis, into partitions, or to another name. */
import {
  DestinationInUse,
  MoveInterrupted,
  MoveRefused,
  moveQueues,
  StillInFlight,
  type Moved,
  type MoveOptions,
  type MoveReport,
} from '../../queue/move/move.ts';
import { addressName } from '../../queue/connection/connection.ts';
import { failurePrefix } from '../../runtime/failure-line.ts';
import { UsageError } from '../../runtime/program.ts';
import { plural } from '../../runtime/plural.ts';
import { withPlace } from '../access/access.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import { destinationOf, type Destination } from '../access/destination.ts';
import { checkOwnQueues } from '../access/own-queues.ts';
import type { Place } from '../access/place.ts';
import type { Progress, ShowProgress } from '../terminal/progress.ts';
import { planMove, type PlanFlags } from './move-plan.ts';

export interface MoveFlags extends AccessFlags, PlanFlags {
  readonly toPool?: string;
  readonly merge?: true;
  readonly follow?: true;
  /** ms. */
  readonly quiet?: number;
  /** ms. */
  readonly wait?: number;
  readonly results: boolean;
  readonly abandon?: true;
  readonly destinationGone?: true;
}

const QUIET_MS = 60_000;

/** Prints what was moved. Fails in one line that says how to continue. */
export async function move(flags: MoveFlags, showProgress: ShowProgress): Promise<void> {
  if (flags.quiet !== undefined && !flags.follow)
    throw new UsageError('--quiet is for --follow: add --follow, or omit --quiet');
  if (flags.destinationGone)
    throw new UsageError('--destination-gone is for --abandon: add --abandon, or omit --destination-gone');
  const destination = destinationOf(flags);
  await withPlace(flags, async (from) => {
    checkOwnQueues(from);
    if (!destination.flags) return await moveBetween(from, from, destination, flags, showProgress);
    await withPlace(destination.flags, async (to) => {
      checkOwnQueues(to);
      await moveBetween(from, to, destination, flags, showProgress);
    });
  });
}

async function moveBetween(
  from: Place,
  to: Place,
  destination: Destination,
  flags: MoveFlags,
  showProgress: ShowProgress,
): Promise<void> {
  const plans = planMove(from, to, destination, flags);
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  // the second one ends the process
  process.once('SIGINT', stop).once('SIGTERM', stop);
  using shown = showMove(from, to, showProgress);
  const began = performance.now();
  try {
    const report = await moveQueues({
      ...shown.listeners,
      from: from.address,
      to: to.address,
      plans,
      merge: flags.merge === true,
      keepResults: !flags.results,
      followMs: flags.follow ? (flags.quiet ?? QUIET_MS) : undefined,
      waitMs: flags.wait,
      signal: stopping.signal,
    });
    shown[Symbol.dispose]();
    process.stdout.write(summary(report, performance.now() - began));
  } catch (error) {
    throw explained(error, from, to);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

const AGAIN = 'nothing is lost; run the same command again to continue';

function explained(error: unknown, from: Place, to: Place): unknown {
  const failed = (message: string): Error => new Error(message, { cause: error });
  const [old, now] = [addressName(from.address), addressName(to.address)];
  if (error instanceof DestinationInUse)
    return failed(
      `${now} ${error.message.replace('the destination ', '')}: add --merge to move into it, or give --to-queue another name`,
    );
  if (error instanceof MoveRefused) {
    const { describe } = error.side === 'source' ? from : to;
    return failed(`${describe(error.cause)}: ${AGAIN}`);
  }
  if (error instanceof MoveInterrupted) return failed(`interrupted: ${AGAIN}`);
  if (error instanceof StillInFlight)
    return failed(
      `workers on ${old} still hold ${plural(error.tasks, 'task, which is', 'tasks, which are')} not moved: ${AGAIN}`,
    );
  return error;
}

const ONE = {
  tasks: 'task',
  delayed: 'delayed',
  'dead letters': 'dead letter',
  results: 'result',
  errors: 'error',
} as const satisfies Record<Moved, string>;

function summary({ resumed, moved }: MoveReport, ms: number): string {
  const parts = Object.entries(moved).flatMap(([what, count]) =>
    count > 0 ? [count === 1 ? `1 ${ONE[what as Moved]}` : `${count} ${what}`] : [],
  );
  const seconds = (ms / 1_000).toFixed(1);
  return `moved ${parts.join(', ') || 'nothing: the queue was empty'} in ${seconds}s${resumed ? ', continuing an earlier move' : ''}\n`;
}

/** The least time between two lines about the same, ms. */
const REPEAT_MS = 5_000;

/** The bar, and lines on stderr about what it waits for. */
function showMove(
  from: Place,
  to: Place,
  showProgress: ShowProgress,
): Disposable & { readonly listeners: Partial<MoveOptions> } {
  let progress: Progress | undefined;
  const said = new Map<string, number>();
  const say = (about: string, text: string): void => {
    const now = performance.now();
    if (now - (said.get(about) ?? -Infinity) < REPEAT_MS) return;
    said.set(about, now);
    process.stderr.write(`${text}\n`);
  };
  const end = (): void => {
    progress?.[Symbol.dispose]();
    progress = undefined;
  };
  return {
    listeners: {
      onTotal: (total) => (progress = showProgress('moved', total, 'rate')),
      onMoved: (_, count) => progress?.add(count),
      onWaiting: (tasks) => {
        end();
        say(
          'waiting',
          `workers on ${addressName(from.address)} hold ${plural(tasks, 'task')}: waiting until ${tasks === 1 ? 'it is' : 'these are'} done`,
        );
      },
      onFollowing: () => {
        end();
        say('following', `all is moved; following ${addressName(from.address)}, until Ctrl-C`);
        progress = showProgress('moved since', undefined);
      },
      onError: (side, error) => {
        const { describe } = side === 'source' ? from : to;
        say(side, `${failurePrefix('millrace')}${describe(error)}; retrying`);
      },
    },
    [Symbol.dispose]: end,
  };
}
