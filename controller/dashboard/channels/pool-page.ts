/** One pool as a channel: its row, new points of its series, and the parts of its page that differ. */
import { within } from '../../../queue/connection/connection.ts';
import type { About, PoolChange, PoolPage, PoolParts, PoolRow } from '../api.ts';
import type { Board } from '../board.ts';
import { createChannel, type Channel } from './channel.ts';
import type { BatchReader } from '../read/batches.ts';
import { createCronReader, type CronReader } from '../read/crons.ts';
import { readLimits } from '../read/limits.ts';
import type { DetailsReader } from '../read/details.ts';
import { differenceOf } from './overview.ts';
import { conditionsOf } from '../row.ts';
import { COLUMNS, STEP_MS } from '../minutes.ts';
import { settingsOf } from '../settings.ts';

const TICK_MS = 1_000;
/** Ticks between two reads of the parts from Redis. */
const PARTS_EVERY = 2;
const PARTS_TIMEOUT_MS = 1_500;
/** Workers that are asked have a second to answer. */
const SOURCE_TIMEOUT_MS = 3_000;

type Link = NonNullable<ReturnType<Board['source']['queuesOf']>>;

export interface PoolChannel extends Channel {
  /** `undefined` if there is no such pool. */
  whole(): Promise<PoolPage | undefined>;
}

export interface PoolChannelOptions {
  readonly key: string;
  readonly board: Board;
  readonly details: DetailsReader;
  readonly batches: BatchReader;
  readonly about: About;
  readonly now: () => number;
  readonly onIdle: () => void;
}

export function createPoolChannel({
  key,
  board,
  details,
  batches,
  about,
  now,
  onIdle,
}: PoolChannelOptions): PoolChannel {
  let row: PoolRow | undefined;
  const options: PartsOptions = {
    key,
    board,
    details,
    about,
    batches: batches.follow(),
    crons: createCronReader(about.showTasks),
    now,
  };
  let parts = nothing;
  let changesOf = createPartChanges();
  let sentUntil = 0;
  let ticks = 0;

  /** The steps from the last one sent on, which may have changed since. */
  function points(at: number): NonNullable<PoolChange['points']> {
    const { from, columns } = board.series(key).read(at, sentUntil);
    sentUntil = at;
    return columns.waiting.map((_, i) => [
      from + i * STEP_MS,
      COLUMNS.map((name) => columns[name][i] ?? null),
    ]);
  }

  const channel = createChannel<PoolChange>({
    everyMs: TICK_MS,
    now,
    begin: async (at) => {
      row = board.row(key, at);
      parts = await readParts(options);
      changesOf = createPartChanges();
      changesOf(parts);
      sentUntil = at;
    },
    change: async (at) => {
      const isRead = ++ticks % PARTS_EVERY === 0;
      if (isRead) parts = await readParts(options);
      const changed = isRead ? changesOf(parts) : undefined;
      const after = board.row(key, at);
      const difference = after && differenceOf(row, after);
      if (difference || !after) row = after;
      if (!changed && !difference) return undefined;
      return {
        now: at,
        // while nothing differs, the page extends the charts by itself
        ...(difference ? { row: difference, points: points(at) } : {}),
        ...(changed ? { parts: changed } : {}),
      };
    },
    onIdle: () => {
      parts = nothing;
      onIdle();
    },
  });

  return {
    ...channel,
    whole: async () => {
      const seq = await channel.fresh();
      if (!row) return undefined;
      const at = now();
      return { seq, now: at, about, row, series: board.series(key).read(at), parts };
    },
  };
}

const nothing: PoolParts = {
  decisions: [],
  workers: null,
  source: null,
  dead: null,
  pauses: [],
  conditions: [],
  settings: [],
};
interface PartsOptions extends Pick<PoolChannelOptions, 'key' | 'board' | 'details' | 'about' | 'now'> {
  readonly batches: ReturnType<BatchReader['follow']>;
  readonly crons: CronReader;
}

const WHAT = 'the state of a pool in Redis';

async function readDetails(
  { key, details }: PartsOptions,
  { source, ...place }: Link,
): Promise<Partial<PoolParts> & Pick<PoolParts, 'decisions'>> {
  return source
    ? await within(SOURCE_TIMEOUT_MS, details.readSource(place, key, source), WHAT)
    : await within(PARTS_TIMEOUT_MS, details.read(place, key), WHAT);
}

/** A part that cannot be read hides no other one. */
const orNothing = <T>(reading: Promise<T>): Promise<T | undefined> =>
  within(PARTS_TIMEOUT_MS, reading, WHAT).catch(() => undefined);

async function readParts(options: PartsOptions): Promise<PoolParts> {
  const { key, board, about } = options;
  const pool = board.source.pools.get(key);
  if (!pool) return nothing;
  const link = board.source.queuesOf(key);
  const known = board.source.sampled(key)?.kind === 'known';
  const place = known ? link : undefined;
  const own = pool.spec.source ? undefined : place;
  const [seen, batches, crons, limits] = await Promise.all([
    place && readDetails(options, place).catch(() => undefined),
    own && orNothing(options.batches(own)),
    options.crons(pool, own && { ...own, within: orNothing }, options.now()),
    own && orNothing(readLimits(own, about.showTasks)),
  ]);
  return {
    decisions: seen && seen.decisions.length > 0 ? seen.decisions : board.decisions(key),
    workers: seen?.workers ?? null,
    source: pool.spec.source ? (seen?.source ?? { all: 0, list: null, notes: [] }) : null,
    dead: seen?.dead ?? null,
    batches: batches ?? null,
    crons,
    limits: limits ?? null,
    pauses: seen?.pauses ?? [],
    conditions: conditionsOf(pool, about.showTasks),
    settings: settingsOf(pool.spec, about.showTasks, pool.status),
  };
}

/** Returns the parts that differ from those of the call before; all of them at first. */
function createPartChanges(): (next: PoolParts) => Partial<PoolParts> | undefined {
  const texts = new Map<string, string>();
  return (next) => {
    const changed = Object.entries(next).filter(([name, part]) => {
      const text = JSON.stringify(part);
      if (texts.get(name) === text) return false;
      texts.set(name, text);
      return true;
    });
    return changed.length > 0 ? Object.fromEntries(changed) : undefined;
  };
}
