/**
 * Which replicas go first when a pool shrinks. Pure.
 *
 * Those that could not have begun anything, then those that are already draining (a choice once made is kept, so that
 * two reconciles do not drain twice as many), then idle ones, then those that hold least; among equals the youngest,
 * because the older ones are warm.
 */
export interface Member {
  /** Worker id; in a cluster the pod's name. */
  readonly id: string;
  readonly ready: boolean;
  /** When it was created, ms. */
  readonly created: number;
}

/** What Redis knows of a member. */
export interface MemberLoad {
  readonly draining: boolean;
  readonly inFlight: number;
}

/** The `count` members to take away, in order. `load` has no entry for a member that has not registered. */
export function chooseVictims(
  members: readonly Member[],
  load: ReadonlyMap<string, MemberLoad>,
  count: number,
): readonly Member[] {
  const rank = (member: Member): readonly number[] => {
    const known = load.get(member.id);
    return [
      member.ready || (known?.inFlight ?? 0) > 0 ? 1 : 0,
      known?.draining ? 0 : 1,
      known?.inFlight ?? 0,
      -member.created,
    ];
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
