/** What a pool remembers of the replays of its arrivals (replay.ts): a plain value of bounded size. */
import type { PastNeed } from './keep-warm.ts';
import type { Starting } from './start-time.ts';

/** A pool in numbers. */
export interface Replay {
  readonly up: number;
  readonly starts: readonly Starting[];
  /** Tasks that it has finished, as the curve of arrivals counts, parts of one included. */
  readonly served: number;
  readonly needs: readonly PastNeed[];
  /** Fading sum, replica-ms: what ran or idled, and START_COST_MS for each start. */
  readonly cost: number;
}

export interface Replays {
  readonly long: Replay;
  readonly short: Replay;
  /** The second is so much cheaper that it is followed. */
  readonly shorter: boolean;
}
