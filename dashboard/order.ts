/** Filters and sorts pools. Pure. */
import type { PoolRow, PoolState } from '../controller/dashboard/api.ts';

export const filters = ['all', 'trouble', 'working', 'idle', 'paused'] as const;
export type Filter = (typeof filters)[number];

const sortKeys = ['name', 'state', 'waiting', 'inFlight', 'replicas', 'wait', 'decided'] as const;
export type SortKey = (typeof sortKeys)[number];

export interface Order {
  readonly by: SortKey;
  readonly down: boolean;
}

const IN: Readonly<Record<PoolState, Filter>> = {
  trouble: 'trouble',
  scaling: 'working',
  working: 'working',
  paused: 'paused',
  idle: 'idle',
  unknown: 'idle',
};
const RANK: readonly PoolState[] = ['trouble', 'scaling', 'working', 'paused', 'unknown', 'idle'];

export function counts(pools: readonly PoolRow[]): Record<Filter, number> {
  const found = { all: pools.length, trouble: 0, working: 0, idle: 0, paused: 0 };
  for (const { state } of pools) found[IN[state]]++;
  return found;
}

/** Every word of `search` must be in the name, the namespace or a queue's name. */
export function arrange(
  pools: readonly PoolRow[],
  search: string,
  filter: Filter,
  { by, down }: Order,
): PoolRow[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = pools.filter(
    ({ key, queue, state }) =>
      (filter === 'all' || IN[state] === filter) &&
      words.every((word) => `${key} ${queue}`.toLowerCase().includes(word)),
  );
  const sign = down ? -1 : 1;
  return shown.toSorted((a, b) => sign * COMPARE[by](a, b) || a.key.localeCompare(b.key));
}

const COMPARE: Readonly<Record<SortKey, (a: PoolRow, b: PoolRow) => number>> = {
  name: (a, b) => nameOf(a.key).localeCompare(nameOf(b.key)),
  state: (a, b) => RANK.indexOf(b.state) - RANK.indexOf(a.state),
  waiting: (a, b) => a.waiting - b.waiting,
  inFlight: (a, b) => a.inFlight - b.inFlight,
  replicas: (a, b) => a.replicas - b.replicas,
  wait: (a, b) => (a.waitP95 ?? -1) - (b.waitP95 ?? -1),
  decided: (a, b) => (a.decidedAt ?? 0) - (b.decidedAt ?? 0),
};

/** Of `namespace/name`. */
export function nameOf(key: string): string {
  return key.slice(key.indexOf('/') + 1);
}

export function namespaceOf(key: string): string {
  return key.slice(0, key.indexOf('/'));
}
