/** Observations as a test wants them. */
import type { Observation } from '../../controller/observe/observation.ts';

/** One of a pool at zero in which nothing happens; `parts` go on top. */
export function observation(parts: Partial<Observation> = {}): Observation {
  const empty = {
    waiting: 0,
    inFlight: 0,
    delayed: 0,
    dead: 0,
    replicas: 0,
    ready: 0,
    desired: 0,
    wanted: 0,
  };
  const still = { arrived: 0, taken: 0, completed: 0, failed: 0, retried: 0, serviceMs: 0 };
  return {
    at: 0,
    known: true,
    sinceMs: 1_000,
    scaled: undefined,
    waits: [],
    oldestMs: 0,
    startsMs: [],
    cause: 'Enough',
    reason: '0: 0 waiting',
    numbers: { current: 0, ready: 0, bounds: { minReplicas: 0, maxReplicas: 10 } },
    ...empty,
    ...still,
    elapsed: parts.at ?? 0,
    ...parts,
  };
}
