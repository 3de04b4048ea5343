/**
 * Which numbers of partitions a pool serves while its number changes. Pure.
 *
 * A number names lists (queue/partitions.ts): 16 names `tiles:{0}` to `tiles:{15}`, 1 the plain `tiles`. When another number is
 * wanted, lists that it does not name are **served** until they hold nothing: read, counted, and taken from by workers. Then
 * workers are told the new number, which replaces their pods, and the lists are read until no worker is registered there any more.
 * Tasks that a client pushes to them meanwhile are served again.
 */
import type { WorkerPool, WorkerPoolSpec } from '../../kube/workerpool.ts';
import { MAX_PARTITIONS, partitionKeys } from '../../queue/partitions.ts';
import type { ListSample } from '../../queue/pool/pool-sample.ts';

/** Numbers of partitions, smallest first. */
export interface Partitions {
  /** Those whose lists are read and counted. */
  readonly served: readonly number[];
  /** Those whose lists workers are told to take from. */
  readonly workers: readonly number[];
  /** When tasks were last found in lists that workers had been told to leave, ms of the elapsed clock. */
  readonly returnedAt?: number | undefined;
  /** When tasks were last found in lists that workers are to leave, or these were first read, ms of the elapsed clock. */
  readonly heldAt?: number | undefined;
}

export type PartitionedSpec = Pick<WorkerPoolSpec, 'queue' | 'queues' | 'result' | 'source' | 'partitions'>;

/** Of a queue that never had any: one object for all of thousands. */
const PLAIN: Partitions = { served: [1], workers: [1] };

/** After tasks came back, workers are not told to leave the lists again for this long: each time replaces their pods. */
const RETURN_MS = 300_000;

/**
 * Lists count as empty after this long without a task: one that an idle worker's blocking move has just taken is in no count until
 * the worker's next turn.
 */
const EMPTY_MS = 3_000;

/** The number of partitions that the spec wants: 1 without partitions. */
export function wantedPartitions({ queues, source, partitions = 1 }: PartitionedSpec): number {
  return queues || source ? 1 : partitions;
}

/** Whether the pool has, or is leaving, partitions. */
export function isPartitioned({ served }: Partitions): boolean {
  return served.some((number) => number > 1);
}

/**
 * The numbers to begin with, from the status that an earlier controller wrote. A new pool reads the plain list as well, which may
 * hold tasks of a time without partitions.
 */
export function partitionsBefore({ spec, status }: WorkerPool): Partitions {
  const wanted = wantedPartitions(spec);
  const served = servedIn(status);
  const told = numbersIn(status?.workerPartitions?.split(',').map(Number));
  const isNew = status?.observedGeneration === undefined;
  const workers = told ?? (isNew ? [wanted] : served);
  return withWanted(
    [...served, ...workers].every((number) => number === 1) ? PLAIN : { served, workers },
    wanted,
  );
}

function servedIn(status: WorkerPool['status']): readonly number[] {
  return numbersIn(status?.partitions) ?? [1];
}

/** The lists that the pool begins to serve now. `before`: as far as this process knows. A new pool has none to which they are added. */
export function addedLists(
  { spec, status }: WorkerPool,
  before: Partitions | undefined,
  { served }: Partitions,
): string[] {
  if (!before && status?.observedGeneration === undefined) return [];
  if (before && textOf(before.served) === textOf(served)) return [];
  const there = new Set((before?.served ?? servedIn(status)).flatMap((number) => namesOf(spec, number)));
  return served.flatMap((number) => namesOf(spec, number)).filter((name) => !there.has(name));
}

/** The same with another number wanted: what workers are told changes with the next sample. */
export function withWanted(before: Partitions, wanted: number): Partitions {
  const { served, workers, ...rest } = before;
  if (served.length === 1 && served[0] === wanted) return before;
  return { ...rest, served: distinct([...served, wanted], wanted), workers };
}

/** The numbers after a sample of all lists that are served. `now`: ms of the elapsed clock. */
export function partitionsAfter(
  { served, workers, returnedAt, heldAt }: Partitions,
  spec: PartitionedSpec,
  lists: readonly ListSample[],
  now: number,
): Partitions {
  const wanted = wantedPartitions(spec);
  const left = leftLists(spec, lists);
  const names = new Map(served.map((number) => [number, new Set(namesOf(spec, number))] as const));
  const among = (some: readonly ListSample[]): number[] =>
    served.filter((number) => number === wanted || some.some(({ queue }) => names.get(number)?.has(queue)));
  const busy = among(left.filter(holdsTasks));
  const cameBack = busy.some(
    (number) => number !== wanted && !workers.includes(number) && workers.includes(wanted),
  );
  const since = cameBack ? now : returnedAt;
  // the first sample of lists to be left may have met them between two tasks
  const isFirst = heldAt === undefined && left.length > 0 && workers.some((number) => number !== wanted);
  const held = isFirst || busy.some((number) => number !== wanted) ? now : heldAt;
  const mayHold = left.length > 0 && isWithin(EMPTY_MS, held, now);
  const waits = isWithin(RETURN_MS, since, now) || mayHold;
  // a larger number names their lists, too
  const isServed = (number: number): boolean =>
    served.includes(number) || (number > 1 && number < Math.max(...served));
  const keeps = waits ? workers.filter(isServed) : [];
  // each change replaces the pods: none for lists that are about to be left
  const undecided =
    mayHold && keeps.length > 0 && !workers.includes(wanted) && busy.every((number) => number === wanted);
  const told = undecided ? keeps : distinct([...busy, ...keeps], wanted);
  const manned = among(left.filter((list) => list.workers > 0));
  return {
    served: distinct([...told, ...manned], wanted),
    workers: told,
    ...(since === undefined ? {} : { returnedAt: since }),
    // other lists may be left later
    ...(held === undefined || told.every((number) => number === wanted) ? {} : { heldAt: held }),
  };
}

function isWithin(ms: number, since: number | undefined, now: number): boolean {
  return since !== undefined && now - since < ms;
}

/** The lists that the spec no longer names. */
export function leftLists(spec: PartitionedSpec, lists: readonly ListSample[]): ListSample[] {
  const wanted = new Set(namesOf(spec, wantedPartitions(spec)));
  return lists.filter(({ queue }) => !wanted.has(queue));
}

export function holdsTasks({ waiting, inFlight, delayed }: ListSample): boolean {
  return waiting + inFlight + delayed > 0;
}

/** `1,16`, as workers read it. */
export function textOf(numbers: readonly number[]): string {
  return numbers.join(',');
}

function namesOf({ queue, result }: PartitionedSpec, number: number): string[] {
  return partitionKeys(queue, result, number).map((keys) => keys.queue);
}

/** Of several numbers over 1, the largest names the lists of all. */
function distinct(numbers: readonly number[], wanted: number): number[] {
  const most = Math.max(...numbers);
  const named = numbers.includes(1) ? [1, wanted, most] : [wanted, most];
  return [...new Set(named)].toSorted((a, b) => a - b);
}

/** A status may have been written by hand. */
function numbersIn(numbers: readonly number[] | undefined): number[] | undefined {
  const valid = numbers?.filter(
    (number) => Number.isInteger(number) && number >= 1 && number <= MAX_PARTITIONS,
  );
  return valid && valid.length > 0 ? valid : undefined;
}
