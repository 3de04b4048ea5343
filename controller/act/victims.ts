/**
 * Which replicas go first in a scale-in. Pure.
 *
 * Replicas that are not ready come first, because a ReplicaSet removes them first in any case; among them those without tasks.
 * Then ready ones without tasks, then those with the fewest tasks. Of two that are equal, one that is draining precedes one
 * that is not, so that the choice is stable while both are busy; but if another replica has become idle, it can go now, and the
 * busy one that was draining is released. Then the youngest, because older ones are warm. Unmanaged ones, which cannot drain,
 * are last.
 */
import type { WorkerLoads } from '../../queue/workers/worker-load.ts';
import type { Member } from './target.ts';

/** The `count` members to remove, in order. `loads` has no entry for a member that is not registered. */
export function chooseVictims(
  members: readonly Member[],
  loads: WorkerLoads,
  unmanaged: ReadonlySet<string>,
  count: number,
): readonly Member[] {
  const rank = ({ id, ready, created }: Member): readonly number[] => {
    const { state = '', inFlight = 0 } = loads.get(id) ?? {};
    const drains = state === 'draining' || state === 'drained';
    const holds = inFlight > 0 ? 1 : 0;
    return [ready ? 1 : 0, unmanaged.has(id) ? 1 : 0, holds, drains ? 0 : 1, inFlight, -created];
  };
  const ranked = members.map((member) => ({ member, rank: rank(member) }));
  ranked.sort((a, b) => compareRanks(a.rank, b.rank) || (a.member.id < b.member.id ? -1 : 1));
  return ranked.slice(0, Math.max(0, count)).map(({ member }) => member);
}

/** By the first number that differs. */
export function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (const [i, x] of a.entries()) {
    const difference = x - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
