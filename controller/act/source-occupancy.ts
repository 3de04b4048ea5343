/**
 * Which pods hold tasks of another library, by what its own keys say of its workers, and since when a pod was seen to hold none.
 * Pure.
 *
 * A worker is found in a pod by its host's name or its address. A pod that is ready and in which no worker is known is not idle: it
 * may be none, or be one that the library does not show yet. Only where the library names the holder of every task at once (`complete`)
 * does it follow that such a pod holds none. Knowledge is late by the library's lag, so a pod counts as idle when
 * every read in that time has shown it to be.
 */
import type { SourceWorkers, SourceWorker } from '../../queue/sources/source.ts';
import type { Member } from './target.ts';

/** What the library says of one member. */
export interface Occupancy {
  readonly workers: readonly SourceWorker[];
  /** Tasks that it holds, or may hold. */
  readonly tasks: number;
  /** Nothing says that it may hold a task. */
  readonly idle: boolean;
}

/** Since when members were seen idle at every read, and when the last read was, ms: by member id. */
export type IdleSince = ReadonlyMap<string, { readonly since: number; readonly at: number }>;

/** Kubernetes cuts longer names of hosts. */
const LONGEST_HOST = 63;
/** Reads further apart than this are not consecutive, ms. */
const GAP_MS = 5_000;

export function occupancyOf(
  members: readonly Member[],
  { workers, unnamed, complete = false }: SourceWorkers,
): ReadonlyMap<string, Occupancy> {
  const placed = new Set<SourceWorker>();
  const found = members.map((member) => {
    const mine = workers.filter((worker) => worker.hosts.some((host) => runsIn(host, member)));
    for (const worker of mine) placed.add(worker);
    return [member, mine] as const;
  });
  const astray = workers.some((worker) => worker.tasks > 0 && !placed.has(worker));
  return new Map(
    found.map(([member, mine]) => {
      const tasks = mine.reduce((sum, worker) => sum + worker.tasks, 0) + (unnamed > 0 ? 1 : 0);
      const known = mine.length > 0 || ((complete || !member.ready) && !astray);
      return [member.id, { workers: mine, tasks, idle: tasks === 0 && known }];
    }),
  );
}

function runsIn(host: string, { id, addresses = [] }: Member): boolean {
  if (addresses.includes(host)) return true;
  const [name = ''] = host.split('.');
  return name === id || name === cutName(id);
}

function cutName(id: string): string {
  return id.slice(0, LONGEST_HOST).replace(/[-.]+$/, '');
}

/** Whether a worker's host is that of one of these; there may be thousands of both. */
export function inOneOf(members: readonly Member[]): (host: string) => boolean {
  const names = new Set(members.flatMap(({ id, addresses = [] }) => [id, cutName(id), ...addresses]));
  return (host) => names.has(host) || names.has(host.split('.', 1)[0] ?? '');
}

/** After one more read at `now`. */
export function idleAfter(
  occupancy: ReadonlyMap<string, Occupancy>,
  before: IdleSince,
  now: number,
): IdleSince {
  return new Map(
    [...occupancy].flatMap(([id, { idle }]) => {
      if (!idle) return [];
      const last = before.get(id);
      const since = last && now - last.at <= GAP_MS ? last.since : now;
      return [[id, { since, at: now }] as const];
    }),
  );
}
