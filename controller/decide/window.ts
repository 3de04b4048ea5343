/** The most that was needed lately: a sliding maximum. Pure. */
import type { Memory } from './decision.ts';

/** Adds a need and drops what it overtakes and what is older than the window: what is first is the window's highest. */
export function remember(
  needs: Memory['needs'],
  replicas: number,
  at: number,
  windowMs: number,
): Memory['needs'] {
  const kept = needs.filter((need) => need.at > at - windowMs && need.replicas > replicas);
  return [...kept, { at, replicas }];
}
