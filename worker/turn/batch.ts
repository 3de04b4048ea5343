/**
 * Collects outcomes until the next turn. A batch that was sent and not answered yet is kept by its
 * turn, which repeats it; no outcome is ever in two batches.
 */
import { saidOf } from '../../queue/outcomes/not-run.ts';
import type { Delivery, Settled } from '../../queue/workers/turn.ts';
import type { Finished } from '../../queue/outcomes/outcome.ts';
import { createSettling, type Settling } from '../../queue/outcomes/settled.ts';

export interface TakenOutcomes {
  readonly entries: readonly Finished[];
  /** The same, as a turn sends them. */
  readonly settled: Settled;
}

export interface OutcomeBatch {
  readonly size: number;
  /** Entries of tasks that go back to the queue. */
  readonly releases: number;
  /** When the oldest entry came, by performance.now(); `undefined` when empty. */
  readonly since: number | undefined;
  add(finished: Finished, now: number): void;
  /** Of a task that was never begun. */
  cancel(delivery: Delivery, id: string | Buffer, now: number): void;
  /** Of tasks that were never begun. */
  release(deliveries: readonly Delivery[], now: number): void;
  /** Does what takes time for the next turn, for which Redis would wait later. */
  prepare(): void;
  /** Removes and returns the oldest outcomes, as many as cost Redis a few ms in one turn; the others wait for the next one. */
  take(): TakenOutcomes;
}

/** Maximum cost of the outcomes of one turn, which blocks Redis, in results. */
const TURN_COST = 1_000;
/** So many outcomes are prepared ahead of their turn. */
const MANY = 32;
/** Cost of an outcome to Redis, in results. */
const COST: { readonly [K in Finished['outcome']['kind']]: number } = {
  result: 1,
  release: 1,
  retry: 2,
  dead: 4,
  cancelled: 4,
};

export const isRelease = ({ outcome }: Finished): boolean => outcome.kind === 'release';

/** What goes with one turn. */
interface Share {
  readonly entries: Finished[];
  readonly settling: Settling;
  cost: number;
  releases: number;
}

/** `stored`: results are in a hash on another server before the turn. */
export function createBatch(worker: string, stored = false): OutcomeBatch {
  let size = 0;
  let releases = 0;
  let since: number | undefined;
  const newShare = (): Share => {
    const entries: Finished[] = [];
    return { entries, settling: createSettling(entries, worker, stored), cost: 0, releases: 0 };
  };
  /** Of the next turn. */
  let next = newShare();
  /** Of those after it. */
  const later: Share[] = [];
  const shareFor = (cost: number): Share => {
    const last = later.at(-1) ?? next;
    // the first one goes, whatever it costs
    if (last.cost + cost <= TURN_COST || last.entries.length === 0) return last;
    const share = newShare();
    later.push(share);
    return share;
  };
  const add = (finished: Finished, now: number): void => {
    const cost = costOf(finished);
    const share = shareFor(cost);
    share.entries.push(finished);
    share.cost += cost;
    size++;
    if (isRelease(finished)) {
      share.releases++;
      releases++;
    }
    since ??= now;
  };
  const notRun = { serviceMs: 0, unbegun: true } as const;
  return {
    get size() {
      return size;
    },
    get releases() {
      return releases;
    },
    get since() {
      return since;
    },
    add,
    cancel: (delivery, id, now) => {
      const { batch, unique } = saidOf(delivery.raw, id);
      const outcome = { kind: 'cancelled' } as const;
      const attempt = delivery.past.attempts;
      add({ delivery, id, attempt, outcome, ...notRun, unique, ...(batch && { batch }) }, now);
    },
    release: (deliveries, now) => {
      for (const delivery of deliveries)
        add(
          { delivery, id: '', attempt: delivery.past.attempts, outcome: { kind: 'release' }, ...notRun },
          now,
        );
    },
    prepare: () => {
      if (next.entries.length >= MANY) next.settling.prepare();
    },
    take: () => {
      const { entries, settling, releases: released } = next;
      next = later.shift() ?? newShare();
      size -= entries.length;
      releases -= released;
      if (size === 0) since = undefined;
      return { entries, settled: settling.settle() };
    },
  };
}

function costOf({ outcome }: Finished): number {
  const spawned = outcome.kind === 'result' ? (outcome.spawned?.length ?? 0) : 0;
  return COST[outcome.kind] + spawned;
}
