/** Conditions of a queue in partitions or with priorities: lists that are to be left, and lists that no worker takes from. Pure. */
import type { ObservedCondition } from '../../kube/conditions.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import {
  holdsTasks,
  isPartitioned,
  leftLists,
  textOf,
  wantedPartitions,
  type Partitions,
} from '../connect/partitions.ts';
import type { ListSample } from '../../queue/pool/pool-sample.ts';
import type { Sampled } from '../sample/sampled.ts';

export interface PartitionsSeen {
  readonly numbers: Partitions;
  /** For how long tasks have waited in lists that no worker takes from, ms; `undefined` if none do. */
  readonly unservedMs: number | undefined;
}

/** Each is present only while it holds. Without a sample, what was reported stays as it is. */
export function partitionConditions(
  pool: WorkerPool,
  { numbers, unservedMs }: PartitionsSeen,
  sampled: Sampled,
): ObservedCondition[] {
  if (sampled.kind === 'unknown')
    return (pool.status?.conditions ?? []).filter(({ type }) => TYPES.has(type));
  const { lists = [] } = sampled.sample;
  const isLate = unservedMs !== undefined && unservedMs >= UNSERVED_MS;
  if (!isPartitioned(numbers)) return isLate ? unservedPriorities(pool, lists) : [];
  return [
    ...leftCondition(pool, numbers, leftLists(pool.spec, lists)),
    ...(isLate ? unservedCondition(pool, numbers, lists) : []),
  ];
}

const TYPES: ReadonlySet<string> = new Set(['PartitionsLeft', 'PartitionsUnserved', 'PrioritiesUnserved']);

/** A worker registers in one list after the other, and a pod may be replaced in the meantime. */
const UNSERVED_MS = 30_000;

/** Lists with tasks in which no worker is registered, while workers are in others. */
export function unservedLists(lists: readonly ListSample[]): ListSample[] {
  if (lists.every(({ workers }) => workers === 0)) return [];
  return lists.filter(({ waiting, workers }) => waiting > 0 && workers === 0);
}

function leftCondition(
  pool: WorkerPool,
  { served, workers: told }: Partitions,
  left: readonly ListSample[],
): ObservedCondition[] {
  if (left.length === 0) return [];
  const type = 'PartitionsLeft';
  const wanted = wantedPartitions(pool.spec);
  const names = rangeOf(left);
  const busy = left.filter(holdsTasks);
  const dead = sum(left, 'dead');
  const letters =
    dead === 0
      ? ''
      : ` ${count(dead, 'dead letter')} and the results there are kept: millrace dead list, requeue or drop with --partitions ${textOf(served.filter((number) => number !== wanted))}.`;
  if (busy.length > 0) {
    const tasks = [
      [sum(busy, 'waiting'), 'waiting'],
      [sum(busy, 'inFlight'), 'in flight'],
      [sum(busy, 'delayed'), 'delayed'],
    ] as const;
    const shown = tasks.flatMap(([number, what]) => (number > 0 ? [`${number} ${what}`] : []));
    const paused = busy.some((list) => list.paused)
      ? ' Some of them are paused: resume them with millrace resume.'
      : '';
    const message =
      `${shown.join(', ')} in ${rangeOf(busy)}, which partitions: ${wanted} does not name: served until they are empty. ` +
      `Let clients push to other lists.${paused}${adopted(pool, told)}${letters}`;
    return [{ type, status: 'True', reason: 'TasksWait', message }];
  }
  const manned = Math.max(0, ...left.map(({ workers }) => workers));
  if (manned === 0) return [];
  const who = `${count(manned, 'worker')} still ${manned === 1 ? 'takes' : 'take'} from ${names}`;
  const what = pool.spec.scaleTargetRef ? '' : ' until their pods are replaced';
  const message = `${who}, which are empty, and which partitions: ${wanted} does not name${what}.${adopted(pool, told)}${letters}`;
  return [{ type, status: 'True', reason: 'WorkersLeave', message }];
}

function unservedCondition(
  pool: WorkerPool,
  { workers: told }: Partitions,
  lists: readonly ListSample[],
): ObservedCondition[] {
  const unserved = unservedLists(lists);
  if (unserved.length === 0) return [];
  const tasks = sum(unserved, 'waiting');
  const what = pool.spec.scaleTargetRef
    ? adopted(pool, told)
    : ' Workers do so once their pods are replaced: check the rollout of the Deployment, and whether the template sets MILLRACE_PARTITIONS or --partitions itself.';
  const message = `${count(tasks, 'task')} ${tasks === 1 ? 'waits' : 'wait'} in ${rangeOf(unserved)}, which no worker takes from.${what}`;
  return [{ type: 'PartitionsUnserved', status: 'True', reason: 'NoWorkers', message }];
}

function unservedPriorities({ spec }: WorkerPool, lists: readonly ListSample[]): ObservedCondition[] {
  const unserved = unservedLists(lists);
  if (unserved.length === 0) return [];
  const tasks = sum(unserved, 'waiting');
  const target = spec.scaleTargetRef?.name;
  const what =
    target === undefined
      ? 'Workers do so once their pods are replaced: check the rollout of the Deployment, whether its image is of a version that knows priorities, and whether the template sets MILLRACE_PRIORITIES or --priorities itself.'
      : `Set MILLRACE_PRIORITIES=${spec.priorities?.join(',')} (or --priorities) for the workers of Deployment "${target}", which this pool only scales.`;
  const message = `${count(tasks, 'task')} ${tasks === 1 ? 'waits' : 'wait'} in ${rangeOf(unserved)}, which no worker takes from. ${what}`;
  return [{ type: 'PrioritiesUnserved', status: 'True', reason: 'NoWorkers', message }];
}

/** The environment of an adopted Deployment is its owner's. */
function adopted({ spec }: WorkerPool, told: readonly number[]): string {
  const name = spec.scaleTargetRef?.name;
  return name === undefined
    ? ''
    : ` Set MILLRACE_PARTITIONS=${textOf(told)} (or --partitions) for the workers of Deployment "${name}", which this pool only scales.`;
}

/** `tiles, tiles:{4} to tiles:{15}`: of adjacent ones the first and the last. */
function rangeOf(lists: readonly ListSample[]): string {
  const ranges: { first: string; last: string; number: number }[] = [];
  for (const { queue } of lists) {
    const number = Number(/:\{(\d+)\}$/.exec(queue)?.[1] ?? -2);
    const open = ranges.at(-1);
    if (open && number === open.number + 1) Object.assign(open, { last: queue, number });
    else ranges.push({ first: queue, last: queue, number });
  }
  const [shown, more] = [ranges.slice(0, RANGES_SHOWN), ranges.length - RANGES_SHOWN];
  const text = shown.map(({ first, last }) => (first === last ? first : `${first} to ${last}`)).join(', ');
  return more > 0 ? `${text} and ${more} more` : text;
}

const RANGES_SHOWN = 5;

function sum(lists: readonly ListSample[], of: 'waiting' | 'inFlight' | 'delayed' | 'dead'): number {
  return lists.reduce((total, list) => total + list[of], 0);
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
