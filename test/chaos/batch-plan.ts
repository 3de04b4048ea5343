/**
 * The batches of a run, drawn from its seed: of each size, by clients of both kinds, in one another, with parts that add parts and parts
 * that fail under each rule; some are cancelled half-way. Pure.
 */
import type { FailurePolicy } from '../../queue/batch-mark.ts';
import { createRandom, type Random } from './random.ts';
import type { Order } from './tasks.ts';

/** Its id comes from its batch. */
export type PartPlan = Omit<Order, 'id'> | BatchPlan;

export interface BatchPlan {
  readonly id: string;
  readonly client: 'library' | 'plain';
  /** Its queue's place among those of the run. */
  readonly queue: number;
  readonly onFailure: FailurePolicy;
  readonly parts: readonly PartPlan[];
  /** How often a plain client pushes each part. */
  readonly copies: number;
  /** When its client cancels it, counted from the first push, ms. */
  readonly cancelAfterMs: number | undefined;
}

const SIZES = [
  [1, 1],
  [1, 3],
  [2, 10],
  [2, 20],
  [10, 40],
  [40, 100],
  [100, 300],
] as const;
const DEEPEST = 2;
/** The share of all parts that one batch has at most. */
const LARGEST = 0.2;

/** Parts of batches in a run, unless it is told. */
export function usualParts(tasks: number): number {
  return Math.ceil(tasks * 0.15);
}

/** As many as have this many parts together. `clients`: of what kind; plain ones push none to a queue in partitions. */
export function drawBatches(
  seed: number,
  parts: number,
  clients: readonly BatchPlan['client'][] = ['library', 'library', 'plain'],
): BatchPlan[] {
  const random = createRandom(seed, 'batches');
  const batches: BatchPlan[] = [];
  const most = Math.max(4, parts * LARGEST);
  for (let left = parts; left > 0;) {
    const client = random.pick(clients);
    const spawns = random.chance(0.35);
    const nests = random.chance(0.5);
    const about = {
      client,
      // plain workers take from the first queue, and of a plain client's batch not every part that they ran is found (docs/batches.md):
      // not one that a part has added, nor the `then` of a nested batch that is all that there is of the outer one
      queue: (client === 'plain' && (spawns || nests)) || random.chance(0.3) ? 1 : 0,
      copies: client === 'plain' && random.chance(0.3) ? 2 : 1,
      cancelAfterMs: random.chance(0.15) ? random.int(0, 2_000) : undefined,
    };
    const batch = drawBatch(
      random,
      { ...about, id: `b${batches.length}` },
      { spawns, most, depth: nests ? DEEPEST : 0 },
    );
    batches.push(batch);
    left -= countParts(batch);
  }
  return batches;
}

interface Shape {
  readonly spawns: boolean;
  /** Number of parts. */
  readonly most: number;
  /** Of batches inside of it. */
  readonly depth: number;
}

function drawBatch(
  random: Random,
  about: Omit<BatchPlan, 'parts' | 'onFailure'>,
  { spawns, most, depth }: Shape,
): BatchPlan {
  const [from, to] = random.pick(SIZES);
  const size = Math.max(1, Math.min(random.int(from, to), Math.ceil(most)));
  const onFailure = random.pick(['wait', 'cancel', 'continue'] as const);
  const parts: PartPlan[] = Array.from({ length: size }, () => drawPart(random));
  const somewhere = (part: PartPlan): void => void (parts[random.int(0, size - 1)] = part);
  if (random.chance(0.6))
    for (let left = random.int(1, 3); left > 0; left--) somewhere(drawFailing(random, onFailure));
  if (spawns) for (let left = random.int(1, 4); left > 0; left--) somewhere(drawSpawning(random, 2));
  if (depth > 0 && random.chance(0.6))
    for (let left = random.int(1, 3); left > 0; left--)
      somewhere(drawBatch(random, about, { spawns, most: most / 4, depth: depth - 1 }));
  return { ...about, onFailure, parts };
}

function drawPart(random: Random): PartPlan {
  const ms = random.chance(0.05) ? random.int(50, 400) : random.int(0, 40);
  return random.chance(0.04) ? { ms, failures: 1 } : { ms };
}

function drawFailing(random: Random, onFailure: FailurePolicy): PartPlan {
  const ms = random.int(0, 60);
  return onFailure === 'wait' && random.chance(0.6) ? { ms, forbidden: true } : { ms, final: true };
}

function drawSpawning(random: Random, depth: number): Omit<Order, 'id'> {
  const spawn = Array.from({ length: random.int(1, 5) }, () =>
    depth > 1 && random.chance(0.3) ? drawSpawning(random, depth - 1) : { ms: random.int(0, 40) },
  );
  return { ms: random.int(0, 60), spawn };
}

export function countParts({ parts }: BatchPlan): number {
  return parts.reduce((sum, part) => sum + 1 + ('parts' in part ? countParts(part) : 0), 0);
}

/** A batch under the id that it was begun with. */
export interface NamedBatch {
  readonly id: string;
  readonly thenId: string;
  readonly plan: BatchPlan;
  readonly outer: NamedBatch | undefined;
  readonly parts: readonly NamedPart[];
}

export interface NamedPart {
  readonly id: string;
  readonly order: Omit<Order, 'id'> | undefined;
  /** The part is this one's `then`. */
  readonly inner: NamedBatch | undefined;
}

/** `plan` as it was begun under `id`. The library chooses the ids of parts; a plain client those by which they are found. */
export function nameBatch(
  plan: BatchPlan,
  id: string,
  outer?: NamedBatch,
  thenId = `${id}:then`,
): NamedBatch {
  const parts: NamedPart[] = [];
  const named: NamedBatch = { id, thenId, plan, outer, parts };
  for (const [i, part] of plan.parts.entries()) {
    const own = `${id}:${i}`;
    const inner = !('parts' in part)
      ? undefined
      : plan.client === 'plain'
        ? nameBatch(part, `${own}:in`, named, own)
        : nameBatch(part, own, named);
    parts.push({ id: inner?.thenId ?? own, order: 'parts' in part ? undefined : part, inner });
  }
  return named;
}

/** It, and those inside of it. */
export function withInner(batch: NamedBatch): NamedBatch[] {
  return [batch, ...batch.parts.flatMap(({ inner }) => (inner ? withInner(inner) : []))];
}

/** The tasks that a plain client pushes for a batch. Each names all that there is to know, since a plain worker may take any. */
export function plainTasks(batch: NamedBatch): string[] {
  return batch.parts.flatMap(({ id, order, inner }) =>
    inner ? plainTasks(inner) : [JSON.stringify({ id, ...order, batch: markOf(batch) })],
  );
}

function markOf({ id, thenId, plan, outer, parts }: NamedBatch): object {
  const then = { id: thenId, joins: true, ...(outer && { batch: markOf(outer) }) };
  return { id, size: parts.length, onFailure: plan.onFailure, then };
}
