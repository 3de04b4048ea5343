/**
 * Collects outcomes until the next turn. A batch that was sent and not answered yet is kept by its turn, which repeats it; no
 * outcome is ever in two batches.
 */
import { deadHeader } from '../../queue/dead-letter-format.ts';
import { slowBucket } from '../../queue/pool/slow-tasks.ts';
import { partMarkOf, type PartMark } from '../../queue/batch-mark.ts';
import { taskHead } from '../../queue/task.ts';
import type { Delivery, PartGroup, Settled, SpawnedTasks } from '../../queue/workers/turn.ts';
import type { Finished } from '../task/outcome.ts';

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
  const notRun = { serviceMs: 0 } as const;
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
      const batch = goodMarkOf(delivery, id);
      const outcome = { kind: 'cancelled' } as const;
      add(
        { delivery, id, attempt: delivery.past.attempts, outcome, ...notRun, ...(batch && { batch }) },
        now,
      );
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

/** The mark of a task that was not begun; none if it is not right. */
function goodMarkOf({ raw }: Delivery, id: string | Buffer): PartMark | undefined {
  try {
    return partMarkOf(taskHead(raw).value, id);
  } catch {
    return undefined;
  }
}

type Lists = {
  -readonly [K in 'results' | 'retries' | 'dead' | 'released' | 'cancelled']: Settled[K][number][];
};

/** The outcomes as a turn sends them. */
export function settledOf(entries: readonly Finished[], worker: string): Settled {
  const lists: Lists = { results: [], retries: [], dead: [], released: [], cancelled: [] };
  let serviceMs = 0;
  let squaresMs2 = 0;
  const slow: number[] = [];
  const spawned: SpawnedTasks[] = [];
  let groups: PartGroups | undefined;
  for (const entry of entries) {
    const { kind } = entry.outcome;
    list(entry, worker, lists);
    const added = entry.outcome.kind === 'result' && entry.outcome.spawned;
    if (added) spawned.push({ result: lists.results.length - 1, tasks: added });
    if (entry.batch)
      (groups ??= createPartGroups()).add(entry.batch, kind, lists, added ? spawned.length - 1 : false);
    if (kind === 'release' || kind === 'cancelled') continue;
    serviceMs += entry.serviceMs;
    squaresMs2 += entry.serviceMs ** 2;
    const bucket = slowBucket(entry.serviceMs);
    if (bucket > 0) slow.push(bucket);
  }
  return {
    ...lists,
    serviceUs: serviceMs * 1_000,
    squaresMs2,
    ...(slow.length > 0 && { slow }),
    ...(groups && { parts: groups.all() }),
    ...(spawned.length > 0 && { spawned }),
  };
}

interface PartGroups {
  /** Of the outcome that was put into the lists last. */
  add(mark: PartMark, kind: Finished['outcome']['kind'], lists: Lists, spawned: number | false): void;
  all(): PartGroup[];
}

type Group = { [K in Exclude<keyof PartGroup, 'mark'>]: number[] } & { mark: PartMark };

function isSame(one: PartMark, other: PartMark): boolean {
  return (
    one.id === other.id &&
    one.size === other.size &&
    one.then?.raw === other.then?.raw &&
    one.onFailure === other.onFailure
  );
}

/** Groups parts by what they say of their batch. */
function createPartGroups(): PartGroups {
  const groups = new Map<string, Group>();
  let last: Group | undefined;
  const groupOf = (mark: PartMark): Group => {
    const name = JSON.stringify([mark.id, mark.size, mark.then?.raw, mark.onFailure]);
    const group = groups.get(name) ?? { mark, results: [], dead: [], cancelled: [], spawned: [] };
    groups.set(name, group);
    return group;
  };
  return {
    add: (mark, kind, lists, spawned) => {
      if (kind === 'retry' || kind === 'release') return;
      // most parts of a turn are of one batch
      const group = last && isSame(last.mark, mark) ? last : groupOf(mark);
      last = group;
      const ended = kind === 'result' ? 'results' : kind;
      group[ended].push(lists[ended].length - 1);
      if (spawned !== false) group.spawned.push(spawned);
    },
    all: () => [...groups.values()],
  };
}

function list({ delivery, id, attempt, outcome, batch }: Finished, worker: string, lists: Lists): void {
  const { receipt, past } = delivery;
  switch (outcome.kind) {
    case 'result':
      lists.results.push({ receipt, id, value: outcome.value });
      break;
    case 'retry': {
      const next = { attempts: attempt, deliveries: past.deliveries };
      lists.retries.push({ receipt, delayMs: outcome.delayMs, past: next });
      break;
    }
    case 'dead': {
      const whole = outcome.unreported || Buffer.isBuffer(id) || delivery.raw.equals(Buffer.from(id));
      const lost = outcome.poison ? { deliveries: past.deliveries } : {};
      const part = batch ? { batch: batch.id } : {};
      const about = { error: outcome.error, attempts: attempt, worker, ...lost, ...part };
      const header = deadHeader(whole ? about : { ...about, id });
      lists.dead.push({ receipt, ...(!outcome.unreported && { id }), header });
      break;
    }
    case 'cancelled': {
      const about = { error: 'cancelled', attempts: past.attempts, worker, cancelled: true } as const;
      lists.cancelled.push({ receipt, id, header: deadHeader(about), ...(batch && { batch: batch.id }) });
      break;
    }
    case 'release':
      lists.released.push(receipt);
  }
}
