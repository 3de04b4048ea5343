/** Staggers periodic work evenly across its period. Pure. */

/**
 * When `id` is due next, ms: after half of `everyMs` at the earliest and all of it at the latest, and from the second
 * time on at an offset of its own, however crowded the times before were.
 */
export function nextAt(id: string, now: number, everyMs: number): number {
  const passed = (((now - phaseOf(id) * everyMs) % everyMs) + everyMs) % everyMs;
  const wait = everyMs - passed;
  return now + (wait < everyMs / 2 ? wait + everyMs / 2 : wait);
}

/** From 0 to 1, about evenly spread (the hash is FNV-1a). */
function phaseOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return (hash >>> 0) / 2 ** 32;
}
