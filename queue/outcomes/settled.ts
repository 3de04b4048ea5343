/**
 * `queue/outcomes/`: takes what became of tasks and returns what a turn writes of it: results, retries and when they are due, dead
 * letters, releases. It runs nothing, and decides nothing about replicas.
 */
import type { PartMark } from '../batch-mark.ts';
import { deadHeader } from '../dead-letter-format.ts';
import { slowBucket } from '../pool/slow-tasks.ts';
import { PackedResults } from '../workers/packed-results.ts';
import type { PartGroup } from '../workers/packed-parts.ts';
import type { Settled, SpawnedTasks } from '../workers/turn.ts';
import { shortId } from '../task.ts';
import { hasExpired, type Finished } from './outcome.ts';

type Lists = {
  -readonly [K in 'results' | 'retries' | 'dead' | 'released' | 'cancelled']: Settled[K][number][];
};

/** Outcomes on their way into the form in which a turn sends them. */
export interface Settling {
  /** Does so with those that were added since it was called last. */
  prepare(): void;
  /** All of them. */
  settle(): Settled;
}

/** Of `entries`, to which more may be added. `stored`: results are in a hash on another server before the turn. */
export function createSettling(entries: readonly Finished[], worker: string, stored = false): Settling {
  const lists: Lists = { results: [], retries: [], dead: [], released: [], cancelled: [] };
  let packed: PackedResults | undefined;
  let prepared = 0;
  let serviceMs = 0;
  let squaresMs2 = 0;
  const slow: number[] = [];
  const spawned: SpawnedTasks[] = [];
  const unbegun: string[] = [];
  let groups: PartGroups | undefined;
  const prepare = (): void => {
    const from = lists.results.length;
    // V8 makes an object of each number that a closure's variable is set to, but not in this function's own
    let [ms, squares] = [serviceMs, squaresMs2];
    for (; prepared < entries.length; prepared++) {
      const entry = entries[prepared] as Finished;
      const { outcome, batch } = entry;
      const { kind } = outcome;
      if (entry.unbegun) unbegun.push(entry.delivery.receipt);
      list(entry, worker, lists);
      const added = kind === 'result' && outcome.spawned;
      if (added) spawned.push({ result: lists.results.length - 1, tasks: added });
      if (batch) (groups ??= createPartGroups()).add(batch, kind, lists, added ? spawned.length - 1 : false);
      if (kind === 'release' || kind === 'cancelled' || hasExpired(outcome)) continue;
      const { serviceMs: taken } = entry;
      ms += taken;
      squares += taken * taken;
      const bucket = slowBucket(taken);
      if (bucket > 0) slow.push(bucket);
    }
    serviceMs = ms;
    squaresMs2 = squares;
    packed ??= new PackedResults(stored, lists.results.length);
    packed.add(lists.results, from);
  };
  return {
    prepare,
    settle: () => {
      prepare();
      return {
        ...lists,
        ...(packed && { packed }),
        serviceUs: serviceMs * 1_000,
        squaresMs2,
        ...(unbegun.length > 0 && { unbegun }),
        ...(slow.length > 0 && { slow }),
        ...(groups && { parts: groups.all() }),
        ...(spawned.length > 0 && { spawned }),
      };
    },
  };
}

/** The outcomes as a turn sends them. */
export function settledOf(entries: readonly Finished[], worker: string, stored = false): Settled {
  return createSettling(entries, worker, stored).settle();
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

function list(finished: Finished, worker: string, lists: Lists): void {
  const { delivery, id, attempt, outcome, unique } = finished;
  const { receipt, past } = delivery;
  switch (outcome.kind) {
    case 'result':
      lists.results.push(
        unique === undefined
          ? { receipt, id, value: outcome.value }
          : { receipt, id, value: outcome.value, unique },
      );
      break;
    case 'retry': {
      const next = { attempts: attempt, deliveries: past.deliveries };
      lists.retries.push({ receipt, delayMs: outcome.delayMs, past: next });
      break;
    }
    case 'dead':
      lists.dead.push(letterOf(finished, outcome, worker));
      break;
    case 'cancelled':
      lists.cancelled.push(cancelledOf(finished, outcome, worker));
      break;
    case 'release':
      lists.released.push(receipt);
  }
}

type OutcomeOf<Kind> = Extract<Finished['outcome'], { readonly kind: Kind }>;

function letterOf(
  { delivery: { receipt, raw, past }, id, attempt, batch, unique }: Finished,
  { error, poison, unreported, expired }: OutcomeOf<'dead'>,
  worker: string,
): Settled['dead'][number] {
  const whole = unreported || Buffer.isBuffer(id) || raw.equals(Buffer.from(id));
  const key = unique === undefined ? {} : { unique };
  const header = deadHeader({
    error,
    attempts: attempt,
    worker,
    ...(poison && { deliveries: past.deliveries }),
    ...(expired !== undefined && { expired }),
    ...(batch && { batch: batch.id }),
    ...key,
    ...(!whole && { id }),
  });
  const notRun = expired === undefined ? {} : ({ expired: true } as const);
  const named = unreported ? unique !== undefined && { uniqueId: id } : { id };
  return { receipt, ...named, header, ...notRun, ...key };
}

/** The error of a duplicate names the other one, unless both have one id: what becomes of that is to be found under it. */
function cancelledOf(
  { delivery: { receipt, past }, id, batch, unique }: Finished,
  { duplicateOf }: OutcomeOf<'cancelled'>,
  worker: string,
): Settled['cancelled'][number] {
  const entry = { receipt, id, ...(batch && { batch: batch.id }) };
  const about = { attempts: past.attempts, worker };
  if (duplicateOf === undefined) {
    const header = deadHeader({ error: 'cancelled', ...about, cancelled: true });
    return { ...entry, header, ...(unique !== undefined && { unique }) };
  }
  const error = `a duplicate of task ${shortId(duplicateOf)}, which has the key "${unique ?? ''}": it was not run`;
  const header = duplicateOf === id ? '' : deadHeader({ error, ...about, duplicateOf });
  return { ...entry, header, duplicate: true };
}
