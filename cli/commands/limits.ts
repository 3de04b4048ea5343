/** `millrace limits`: shows, sets and removes the limits of a queue. */
import { describeLimits, type LimitsView, type Queue } from '../../queue/queue.ts';
import { BadLimits } from '../../queue/limits/definition.ts';
import { formatDuration } from '../../runtime/duration.ts';
import { UsageError } from '../../runtime/program.ts';
import { plural } from '../../runtime/plural.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import { withQueues } from '../access/access.ts';
import { changed, hasChanges, type LimitFlags } from '../access/limit-flags.ts';
import { print, type Output } from '../terminal/output.ts';
import { age, oneLine, table } from '../terminal/table.ts';

export interface LimitsFlags extends AccessFlags, LimitFlags {
  readonly remove?: boolean;
  readonly force?: boolean;
  readonly output: Output;
}

const BY = 'millrace limits';

export async function limits(flags: LimitsFlags): Promise<void> {
  const { remove = false, force = false } = flags;
  const changes = hasChanges(flags);
  if (remove && changes) throw new UsageError('--remove removes all limits: give no others with it');
  await withQueues(
    flags,
    async (queues) => {
      for (const queue of queues) {
        if (remove) await removeFrom(queue, force);
        else if (changes) await change(queue, flags, force);
      }
      if (remove) return;
      const views = await Promise.all(
        queues.map(async (queue) => ({ queue: queue.keys.queue, ...(await queue.limits.show()) })),
      );
      await print(flags.output, views, () => views.map((view) => describe(view)).join('\n'));
    },
    { writes: remove || changes },
  );
}

async function removeFrom(queue: Queue, force: boolean): Promise<void> {
  const were = await queue.limits.remove({ force, by: BY });
  process.stdout.write(`${queue.keys.queue} ${were ? 'has no limits any more' : 'had no limits'}\n`);
}

async function change(queue: Queue, flags: LimitFlags, force: boolean): Promise<void> {
  const wanted = changed((await queue.limits.show())?.limits ?? {}, flags);
  try {
    if (Object.keys(wanted).length === 0) await queue.limits.remove({ force, by: BY });
    else await queue.limits.set(wanted, { force, by: BY });
  } catch (error) {
    if (error instanceof BadLimits) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

type Shown = { readonly queue: string } & Partial<LimitsView>;

function describe(view: Shown): string {
  const {
    queue,
    limits: found,
    by = '',
    at = 0,
    now = 0,
    running = 0,
    mayBegin,
    held = 0,
    heldKeys = 0,
    nextAt,
    keys = [],
  } = view;
  if (!found) return `${queue} has no limits\n`;
  const next =
    nextAt === undefined ? '' : `, the next in ${formatDuration(Math.max(0, Math.ceil(nextAt - now)))}`;
  const lines = [
    `${queue}: ${describeLimits(found)}`,
    `set by ${by} ${age(now - at)} ago`,
    `${running} in flight${mayBegin === undefined ? '' : `, ${mayBegin} may begin now by the rate`}${next}`,
    `${held} held for their key, of ${plural(heldKeys, 'key')}`,
  ];
  const rows = keys.map((key) => [
    oneLine(key.key, 60),
    key.held,
    key.running,
    key.nextAt === undefined ? 'when one ends' : formatDuration(Math.max(0, Math.ceil(key.nextAt - now))),
  ]);
  const text = `${lines.join('\n')}\n`;
  return rows.length === 0
    ? text
    : `${text}\n${table([found.perKey?.field.toUpperCase() ?? 'KEY', 'HELD', 'IN FLIGHT', 'NEXT IN'], rows)}`;
}
