/** The list of pools as a channel: rows that differ from those sent before. */
import type { About, Overview, OverviewChange, PoolRow } from '../api.ts';
import type { Board } from '../board.ts';
import { createChannel, type Channel } from './channel.ts';

const TICK_MS = 1_000;

export interface OverviewChannel extends Channel {
  whole(): Promise<Overview>;
}

export interface OverviewOptions {
  readonly board: Board;
  readonly about: About;
  readonly now: () => number;
  /** Which pools it shows; all by default. */
  readonly shows?: (key: string) => boolean;
  readonly onIdle?: () => void;
}

export function createOverview({ board, about, now, shows, onIdle }: OverviewOptions): OverviewChannel {
  function rowsAt(at: number): Map<string, PoolRow> {
    const rows = board.rows(at);
    return shows ? new Map([...rows].filter(([key]) => shows(key))) : rows;
  }
  /** The rows that listeners have. */
  let sent = new Map<string, PoolRow>();
  let made: Overview | undefined;

  const channel = createChannel<OverviewChange>({
    everyMs: TICK_MS,
    now,
    begin: async (at) => void (sent = rowsAt(at)),
    change: async (at) => {
      const rows = rowsAt(at);
      const changed = [...rows].flatMap(([key, row]) => {
        const before = sent.get(key);
        const difference = differenceOf(before, row);
        if (!difference && before) rows.set(key, before);
        return difference ? [{ ...difference, key }] : [];
      });
      const gone = [...sent.keys()].filter((key) => !rows.has(key));
      sent = rows;
      return changed.length + gone.length > 0 ? { now: at, changed, gone } : undefined;
    },
    onIdle: () => {
      sent = new Map();
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
      const pools = [...sent.values()].map((row) => withSpark(row, board, at));
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

/** The fields of `after` that differ from `before`, which listeners have; `undefined` if there are none. */
export function differenceOf(before: PoolRow | undefined, after: PoolRow): Partial<PoolRow> | undefined {
  if (before === after) return undefined;
  if (!before) return after;
  const fields = (Object.keys(after) as (keyof PoolRow)[]).filter((name) => before[name] !== after[name]);
  // that an idle pool was read again is no change
  if (fields.every((name) => name === 'asOf')) return undefined;
  return Object.fromEntries(fields.map((name) => [name, after[name]]));
}
