/** Ids of a stream's entries: `ms-sequence`, each up to 64 bits. Pure. */

export function timeOf(id: string): bigint {
  return BigInt(/^\d+/.exec(id)?.[0] ?? 0);
}

/** Less than 0 if the first one is older. */
export function compareIds(one: string, other: string): number {
  const [a, b] = [timeOf(one), timeOf(other)];
  if (a !== b) return a < b ? -1 : 1;
  const sequence = (id: string): bigint => BigInt(/-(\d+)$/.exec(id)?.[1] ?? 0);
  const [c, d] = [sequence(one), sequence(other)];
  return c === d ? 0 : c < d ? -1 : 1;
}
