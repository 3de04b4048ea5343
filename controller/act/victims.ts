/**
 * Which replicas go first when a pool shrinks. Pure.
 *
 * Those that are not ready come first, because a ReplicaSet takes them first whatever else is said of them; among them
 * those that hold nothing. Then ready ones that hold nothing, then those that hold least. Where two are equal in that, one
 * that is draining already goes before one that is not, so that a choice once made is kept while both work: but a busy one
 * that drains gets its work back when another has become idle, which can go now. Then the youngest, because older ones
 * are warm. Unmanaged ones, which cannot drain, are the last.
 */
import type { WorkerLoads } from '../../queue/workers/worker-load.ts';
import type { Member } from './target.ts';

/** The `count` members to take away, in order. `loads` has no entry for a member that is not registered. */
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
  ranked.sort((a, b) => compare(a.rank, b.rank) || (a.member.id < b.member.id ? -1 : 1));
  return ranked.slice(0, Math.max(0, count)).map(({ member }) => member);
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [i, x] of a.entries()) {
    const difference = x - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
