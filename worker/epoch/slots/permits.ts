/**
 * Which queue of a worker may go on: one neither takes nor begins a task until all above it were found empty since it asked.
 *
 * One request reads all of them. A turn reads one queue, and is made only where the keys alone would not show everything.
 */
import type { Lane } from './lane.ts';

/** Determines with one request which of these queues hold anything. */
export type FindFilled = (lanes: readonly Lane[]) => Promise<ReadonlySet<Lane>>;

/** For this long an empty queue is taken to be empty still without another read, ms. */
export const FRESH_MS = 5;

/** What a queue has learned about those above it. */
interface Permit {
  /** Since when it waits for them to be read. */
  askedAt: number | undefined;
  /** Until then it may go on without. */
  until: number;
}

export interface Permits {
  /** Whether `lane` may pass those above it. If `asks`, and they were not read lately, they are. */
  mayPass(lane: Lane, asks: boolean): boolean;
  /** Tasks have come of a turn that `lane` was free to make: it may begin some of them. */
  took(lane: Lane): void;
  /** A queue that was thought to hold tasks did not: checks the others together, instead of one turn after the other. */
  doubt(): void;
}

interface PermitState {
  /** The most urgent first. */
  readonly lanes: () => readonly Lane[];
  readonly findFilled: FindFilled;
  /** Those below this rank may ask again. */
  readonly onRead: (rank: number) => void;
  readonly permits: WeakMap<Lane, Permit>;
}

/** `lanes`: the most urgent first. `onRead`: those below this rank may ask again. */
export function createPermits(
  lanes: () => readonly Lane[],
  findFilled: FindFilled,
  onRead: (rank: number) => void,
): Permits {
  const state: PermitState = { lanes, findFilled, onRead, permits: new WeakMap() };
  return {
    mayPass: (lane, asks) => mayPass(state, lane, asks),
    took: (lane) => {
      permitOf(state, lane).until = performance.now() + lane.windowMs;
    },
    doubt: () => doubt(state),
  };
}

function permitOf({ permits }: PermitState, lane: Lane): Permit {
  const known = permits.get(lane) ?? { askedAt: undefined, until: -Infinity };
  permits.set(lane, known);
  return known;
}

function mayPass(state: PermitState, lane: Lane, asks: boolean): boolean {
  if (lane.rank === 0) return true;
  const permit = permitOf(state, lane);
  const lanes = state.lanes();
  const wanting = wantingAbove(lanes, lane);
  if (wanting) {
    // what was found before is out of date when these are through
    permit.askedAt = undefined;
    if (asks && wanting.wantsWork) wanting.take();
    return false;
  }
  const now = performance.now();
  if (now < permit.until || wereReadAbove(lanes, lane, now - FRESH_MS)) return true;
  const { askedAt } = permit;
  const unread = unreadAbove(lanes, lane, askedAt ?? Infinity);
  if (askedAt !== undefined && unread.length === 0) {
    permit.until = now + FRESH_MS;
    permit.askedAt = undefined;
    return true;
  }
  if (asks && askedAt === undefined) {
    permit.askedAt = now;
    read(state, unread);
  }
  return false;
}

function doubt(state: PermitState): void {
  const wanting = state.lanes().filter((other) => other.wantsWork && !other.inMotion);
  if (wanting.length > 1) read(state, wanting);
}

/** Reads all of them together, except that those whose keys do not show everything make a turn of their own. */
function read({ findFilled, onRead }: PermitState, which: readonly Lane[]): void {
  const still = which.filter((lane) => !lane.inMotion);
  for (const lane of which) if (lane.inMotion) lane.poll();
  if (still.length === 0) return;
  const sentAt = performance.now();
  const turns = still.map((lane) => lane.turns);
  // if it fails, turns take its place, which are retried
  const found = findFilled(still).catch(() => new Set(still));
  void found.then((filled) => {
    for (const [i, lane] of still.entries())
      if (filled.has(lane)) lane.poll();
      else lane.foundEmpty(turns[i] as number, sentAt);
    onRead(still[0]?.rank ?? 0);
  });
}

/** The most urgent queue above that has tasks, or may have. */
function wantingAbove(lanes: readonly Lane[], lane: Lane): Lane | undefined {
  for (const other of lanes) {
    if (other.rank >= lane.rank) return undefined;
    if (other.wantsWork || other.inTransit || other.held > 0) return other;
  }
  return undefined;
}

/** Whether all above were found empty since then. */
function wereReadAbove(lanes: readonly Lane[], lane: Lane, since: number): boolean {
  for (const other of lanes) {
    if (other.rank >= lane.rank) break;
    if (other.readAt < since) return false;
  }
  return true;
}

/** Those above of which no read was sent since then. */
function unreadAbove(lanes: readonly Lane[], lane: Lane, since: number): Lane[] {
  const unread: Lane[] = [];
  for (const other of lanes) {
    if (other.rank >= lane.rank) break;
    if (other.readSentAt < since) unread.push(other);
  }
  return unread;
}
