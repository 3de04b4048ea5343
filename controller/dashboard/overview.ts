/** The list of pools as a channel: which rows differ from those that were told before. */
import type { About, Overview, OverviewChange, PoolRow } from './api.ts';
import type { Board } from './board.ts';
import { createChannel, type Channel } from './channel.ts';

const TICK_MS = 1_000;

export interface OverviewChannel extends Channel {
  whole(): Promise<Overview>;
}

export interface OverviewOptions {
  readonly board: Board;
  readonly about: About;
  readonly now: () => number;
  /** The pools that are on it; all without it. */
  readonly shows?: (key: string) => boolean;
  readonly onIdle?: () => void;
}

export function createOverview({ board, about, now, shows, onIdle }: OverviewOptions): OverviewChannel {
  function rowsAt(at: number): Map<string, PoolRow> {
    const rows = board.rows(at);
    return shows ? new Map([...rows].filter(([key]) => shows(key))) : rows;
  }
  /** What those who listen have. */
  let told = new Map<string, PoolRow>();
  let made: Overview | undefined;

  const channel = createChannel<OverviewChange>({
    everyMs: TICK_MS,
    now,
    begin: async (at) => void (told = rowsAt(at)),
    change: async (at) => {
      const rows = rowsAt(at);
      const changed = [...rows].flatMap(([key, row]) => {
        const difference = differenceOf(told.get(key), row);
        return difference ? [{ ...difference, key }] : [];
      });
      const gone = [...told.keys()].filter((key) => !rows.has(key));
      told = rows;
      return changed.length + gone.length > 0 ? { now: at, changed, gone } : undefined;
    },
    onIdle: () => {
      told = new Map();
      made = undefined;
      onIdle?.();
    },
  });

  return {
    ...channel,
    whole: async () => {
      const seq = await channel.fresh();
      if (made?.seq === seq) return made;
      const at = now();
      const pools = [...told.values()].map((row) => withSpark(row, board, at));
      made = { seq, now: at, about, pools };
      return made;
    },
  };
}

/** A queue in which nothing waited has no sparkline. */
function withSpark(row: PoolRow, board: Board, now: number): PoolRow {
  const { at, values } = board.series(row.key).spark(now);
  return values.every((value) => value === 0) ? row : { ...row, spark: values, sparkAt: at };
}

/** The fields of `after` that `before` has otherwise; `undefined` when there is none. */
export function differenceOf(before: PoolRow | undefined, after: PoolRow): Partial<PoolRow> | undefined {
  if (before === after) return undefined;
  if (!before) return after;
  const fields = (Object.keys(after) as (keyof PoolRow)[]).filter(
    // of an idle pool, that it was looked at again is no news
    (name) => before[name] !== after[name] && name !== 'asOf',
  );
  if (fields.length === 0) return undefined;
  return Object.fromEntries(['asOf' as const, ...fields].map((name) => [name, after[name]]));
}
