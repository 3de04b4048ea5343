/**
 * Collects outcomes until the next turn. A batch that was sent and not answered yet is kept by its turn, which repeats it; no
 * outcome is ever in two batches.
 */
import { saidOf } from '../../queue/outcomes/not-run.ts';
import type { Delivery } from '../../queue/workers/turn.ts';
import type { Finished } from '../../queue/outcomes/outcome.ts';

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
  /** Removes and returns the oldest outcomes, as many as cost Redis a few ms in one turn; the rest waits for the next one. */
  take(): readonly Finished[];
}

/** Maximum cost of the outcomes of one turn, which blocks Redis, in results. */
const TURN_COST = 1_000;
/** Cost of an outcome to Redis, in results. */
const COST: { readonly [K in Finished['outcome']['kind']]: number } = {
  result: 1,
  release: 1,
  retry: 2,
  dead: 4,
  cancelled: 4,
};

export const isRelease = ({ outcome }: Finished): boolean => outcome.kind === 'release';

export function createBatch(): OutcomeBatch {
  let entries: Finished[] = [];
  let since: number | undefined;
  let releases = 0;
  const add = (finished: Finished, now: number): void => {
    entries.push(finished);
    if (isRelease(finished)) releases++;
    since ??= now;
  };
  const notRun = { serviceMs: 0, unbegun: true } as const;
  return {
    get size() {
      return entries.length;
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
    take: () => {
      let cost = 0;
      // the first one goes, whatever it costs
      const over = entries.findIndex((entry, i) => (cost += costOf(entry)) > TURN_COST && i > 0);
      const taken = over === -1 ? entries : entries.slice(0, over);
      entries = over === -1 ? [] : entries.slice(over);
      releases = entries.length === 0 ? 0 : entries.filter(isRelease).length;
      if (entries.length === 0) since = undefined;
      return taken;
    },
  };
}

function costOf({ outcome }: Finished): number {
  const spawned = outcome.kind === 'result' ? (outcome.spawned?.length ?? 0) : 0;
  return COST[outcome.kind] + spawned;
}
