/** The slots that suspects need and no other task can use: they run beside nothing but one another. Pure. */
import type { KnownSample } from './decision.ts';

export interface KeptApart {
  readonly waiting: number;
  readonly inFlight: number;
}

/**
 * In tasks, beside those that are counted as waiting and in flight: what a replica of `size` tasks cannot take because of its
 * suspects. One that goes alone needs a whole replica; others fill half of one, as half of those that were lost together go
 * together (queue/scripts/turn/suspects.lua).
 */
export function keptApart({ suspects = 0, solitary = 0, apart }: KnownSample, size: number): KeptApart {
  const alone = Math.min(solitary, suspects);
  const running = apart ? Math.max(0, apart.workers * size - apart.tasks) : 0;
  return { waiting: alone * (size - 1) + (size > 1 ? suspects - alone : 0), inFlight: running };
}
