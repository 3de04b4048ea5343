/**
 * Judges the batches of a run. Each is over, in a state that it may have. Its counts add up to its size and are those of the results that
 * there are, and its list has each part once, those that other parts added included. Its `then` was pushed once, ran, and found what the
 * batch says and a result of each part that has one. With a history of all changes, each part has as many ends as it had pushes. Pure.
 */
import { nameBatch, withInner, type BatchPlan, type NamedBatch, type NamedPart } from './batch-plan.ts';
import { noFate, type Custody } from './custody.ts';
import type { Run } from './ledger.ts';
import type { Order } from './tasks.ts';
import type { Violation } from './violation.ts';

/** One try of a client to begin a batch. */
export interface BatchTry {
  readonly plan: BatchPlan;
  readonly id: string;
  /** Its client asked for that. */
  cancelled: boolean;
  /** Why its client began it again under another id, and cancelled this one. */
  abandoned: string | undefined;
  /** How often a plain client pushed all parts once more, because nothing happened. */
  pushedAgain: number;
}

/** What Redis has of a batch in the end. */
export interface BatchRecord {
  readonly state: string;
  readonly size: number;
  readonly done: number;
  readonly failed: number;
  readonly cancelled: number;
  /** Of its parts. */
  readonly ids: readonly string[];
  /** Keys of it that only an open batch has. */
  readonly open: readonly string[];
}

export interface BatchEvidence {
  readonly tries: readonly BatchTry[];
  readonly records: ReadonlyMap<string, BatchRecord>;
}

/** What a `then` of a run returns: what it was told, and what it found. */
export interface Joined {
  readonly parts: {
    readonly batch: string;
    readonly size: number;
    readonly succeeded: number;
    readonly failed: number;
    readonly cancelled: number;
    readonly results: string;
    readonly partitions?: number;
  };
  readonly read: { readonly listed: number; readonly values: number };
}

export interface Witnesses {
  /** The result hash. */
  readonly results: ReadonlyMap<string, string>;
  readonly runs: readonly Run[];
  /** Where the servers have a common history. */
  readonly custody?: Custody;
  /** Ids that a plain worker took, with repetition. */
  readonly plain?: readonly string[];
}

const OVER: ReadonlySet<string> = new Set(['ended', 'failed', 'cancelled']);

export function checkBatches({ tries, records }: BatchEvidence, witnesses: Witnesses): Violation[] {
  const plain = new Set(witnesses.plain);
  const runs = new Set(witnesses.runs.map(({ id }) => id));
  return tries.flatMap((one) =>
    withInner(nameBatch(one.plan, one.id)).flatMap((batch) =>
      judge(batch, one, { ...witnesses, records, taken: plain, begun: runs }),
    ),
  );
}

interface Court extends Witnesses {
  readonly records: BatchEvidence['records'];
  /** Ids that a plain worker took. */
  readonly taken: ReadonlySet<string>;
  readonly begun: ReadonlySet<string>;
}

function judge(batch: NamedBatch, one: BatchTry, court: Court): Violation[] {
  const found: Violation[] = [];
  const say = (kind: string, text: string): void => void found.push({ kind, id: batch.id, text });
  const record = court.records.get(batch.id);
  const stoppable = one.cancelled || one.abandoned !== undefined || mayBeStopped(batch.outer);
  if (!record) {
    if (!stoppable) say('batch lost', 'nothing is known of it');
    return found;
  }
  const { state, size, done, failed, cancelled, ids, open } = record;
  if (!OVER.has(state)) {
    say('batch open', `it is ${state || 'running'}: ${done} done, ${failed} failed of ${size}`);
    return found;
  }
  if (open.length > 0) say('left over', `it is over, and there is ${open.join(', ')}`);
  if (done + failed + cancelled !== size)
    say('batch counts', `${done} done, ${failed} failed and ${cancelled} cancelled of ${size}`);
  if (new Set(ids).size !== ids.length) say('batch parts', 'its list has a part twice');
  const parts = [...allParts(batch, court)];
  const isTaken = parts.some(({ id }) => court.taken.has(id));
  if (state !== 'ended' && !stoppable && !(state === 'failed' && mayFail(batch)))
    say('batch state', `it is ${state}, and nothing failed or cancelled it`);
  if (state === 'ended' && !stoppable && !isTaken && mustFail(batch))
    say('batch state', 'it has ended, and a part that failed had to cancel it');
  const withResult = ids.filter((id) => court.results.has(id)).length;
  // who runs a part twice may end it in two ways, and a plain worker fails at nothing
  const isCertain = !isTaken && one.plan.copies === 1 && one.pushedAgain === 0;
  // a result on another primary is stored before its part ends, which may be cancelled in between; a dead letter that is requeued after
  // its batch was cancelled runs for itself
  const mayBeMore = state !== 'ended' && (court.custody === undefined || batch.plan.onFailure === 'wait');
  if (isCertain && (mayBeMore ? done > withResult : done !== withResult))
    say('batch counts', `${done} done, and ${withResult} parts have a result`);
  if (state === 'ended') {
    if (ids.length !== size) say('batch parts', `its list has ${ids.length} parts of ${size}`);
    const listed = new Set(ids);
    for (const { id, optional } of parts)
      if (!listed.has(id) && !optional) say('part lost', `${id} is not in its list`);
    const known = new Set(parts.map(({ id }) => id));
    for (const id of ids) if (!known.has(id)) say('batch parts', `${id} is in its list and is no part`);
    if (!mayBeStopped(batch.outer) && !(batch.outer && (one.cancelled || one.abandoned)))
      found.push(...judgeThen(batch, record, court));
  }
  found.push(...ends(batch, state, parts, court));
  return found;
}

function judgeThen({ id, thenId }: NamedBatch, record: BatchRecord, court: Court): Violation[] {
  if (court.taken.has(thenId)) return [];
  const found: Violation[] = [];
  const say = (text: string): void => void found.push({ kind: 'then', id: thenId, text });
  const value = court.results.get(thenId);
  if (!court.begun.has(thenId)) say(`it has not run, and batch ${id} has ended`);
  if (value === undefined) return [...found, { kind: 'then', id: thenId, text: 'it has no result' }];
  const { parts, read } = JSON.parse(value) as Joined;
  const told = [parts.batch, parts.size, parts.succeeded, parts.failed, parts.cancelled];
  const { size, done, failed, cancelled } = record;
  if (String(told) !== String([id, size, done, failed, cancelled]))
    say(`it was told ${told.join(', ')}, and the batch says ${size}, ${done}, ${failed}, ${cancelled}`);
  if (read.listed !== size) say(`it found ${read.listed} parts of ${size}`);
  if (read.values < done) say(`it found ${read.values} results of ${done}`);
  return found;
}

/** As many ends as pushes; of `then`, one push. */
function ends(
  batch: NamedBatch,
  state: string,
  parts: readonly ListedPart[],
  { custody, plain = [] }: Court,
): Violation[] {
  if (!custody) return [];
  const found: Violation[] = [];
  const { thenId, outer } = batch;
  const ids = new Set([...parts.map(({ id }) => id), ...(outer ? [] : [thenId])]);
  for (const id of ids) {
    const fate = custody.fates.get(id) ?? noFate;
    const popped = plain.filter((one) => one === id).length;
    const ended = fate.results + fate.dead + fate.cancelled + popped;
    if (ended !== fate.pushed) {
      const kind = ended < fate.pushed ? 'lost' : 'twice';
      found.push({ kind, id, text: `${fate.pushed} pushed, and ${ended} ended: ${JSON.stringify(fate)}` });
    }
  }
  const pushed = custody.fates.get(thenId)?.pushed ?? 0;
  if (state === 'ended' && pushed !== 1)
    found.push({ kind: 'then', id: thenId, text: `it was pushed ${pushed} times` });
  return found;
}

interface ListedPart {
  readonly id: string;
  /** A plain worker may have taken the one that adds it, which then adds none. */
  readonly optional: boolean;
}

/** The parts of a batch, and those that they have added. */
function* allParts({ parts }: NamedBatch, court: Court): Generator<ListedPart> {
  for (const { id, order } of parts) yield* withSpawned({ id, optional: false }, order, court);
}

function* withSpawned(
  part: ListedPart,
  order: Partial<Order> | undefined,
  court: Court,
): Generator<ListedPart> {
  yield part;
  const { id } = part;
  if (!order?.spawn || !(court.results.has(id) || court.taken.has(id))) return;
  const optional = part.optional || court.taken.has(id);
  for (const [i, child] of order.spawn.entries())
    yield* withSpawned({ id: `${id}/${i}`, optional }, child, court);
}

/** A part of it fails, or may. */
const mayFail = (batch: NamedBatch): boolean =>
  batch.plan.onFailure === 'cancel' &&
  batch.parts.some(({ order, inner }) => order?.final || (inner && mayFail(inner)));

const mustFail = ({ plan, parts }: NamedBatch): boolean =>
  plan.onFailure === 'cancel' && parts.some(({ order }: NamedPart) => order?.final);

/** It, or one around it, may be cancelled by a part that fails. */
function mayBeStopped(batch: NamedBatch | undefined): boolean {
  return batch !== undefined && (mayFail(batch) || mayBeStopped(batch.outer));
}

/** Ids of all tasks of batches. What a part adds is one of them once a run of that part has ended well; a batch that is over lists only some. */
export function idsOf({ tries, records }: BatchEvidence, runs: readonly Run[]): Set<string> {
  const named = tries.flatMap(({ plan, id }) => withInner(nameBatch(plan, id)));
  const ids = new Set(Array.from(records.values(), (record) => record.ids).flat());
  const ran = new Set(runs.filter(({ ended }) => ended?.how === 'ok').map(({ id }) => id));
  for (const { thenId, parts } of named)
    for (const { id, order } of [{ id: thenId, order: undefined }, ...parts])
      for (const added of idsFrom(id, order, ran)) ids.add(added);
  return ids;
}

function* idsFrom(
  id: string,
  order: Partial<Order> | undefined,
  ran: ReadonlySet<string>,
): Generator<string> {
  yield id;
  if (order?.spawn && ran.has(id))
    for (const [i, child] of order.spawn.entries()) yield* idsFrom(`${id}/${i}`, child, ran);
}

/** How many there were, by what became of them. */
export function batchFigures({ tries, records }: BatchEvidence): Record<string, number> {
  const figures: Record<string, number> = { begun: records.size, parts: 0 };
  const add = (name: string, count: number): void => void (figures[name] = (figures[name] ?? 0) + count);
  for (const { state, size } of records.values()) {
    add(state, 1);
    add('parts', size);
  }
  add('begun again', tries.filter(({ abandoned }) => abandoned !== undefined).length);
  return figures;
}
