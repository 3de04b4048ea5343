/** A pool as a row of a table: the columns of `kubectl get wp`, with `wide` a few more. Pure. */
import { keyOf } from '../../kube/watch.ts';
import { queuesOf, type WorkerPool } from '../../kube/workerpool.ts';
import { age, oneLine, type Cell } from '../terminal/table.ts';

const HEAD = ['NAME', 'QUEUE', 'WAITING', 'IN FLIGHT', 'REPLICAS', 'DESIRED', 'READY', 'REASON', 'AGE'];
const WIDE = ['PARKED', 'SLOTS', 'DELAYED', 'DEAD', 'RATE', 'SERVICE', 'START', 'LAST DECISION'];
/** Longer texts are cut. */
const DECISION = 100;

export interface RowForm {
  /** Includes the namespace as the first column. */
  readonly namespaces: boolean;
  readonly wide: boolean;
  /** ms since the epoch. */
  readonly now: number;
}

export function poolHead({ namespaces, wide }: RowForm): string[] {
  return [...(namespaces ? ['NAMESPACE'] : []), ...HEAD, ...(wide ? WIDE : [])];
}

export function poolRow(pool: WorkerPool, { namespaces, wide, now }: RowForm): Cell[] {
  const { metadata, spec, status = {} } = pool;
  const { waiting = '-', inFlight = '-', replicas = '-', desiredReplicas = '-' } = status;
  const ready = conditionOf(pool, 'Ready');
  const row = [metadata.name, status.queue ?? queuesOf(spec).join(',')];
  const created = Date.parse(metadata.creationTimestamp ?? '');
  const more = [
    status.parkedReplicas ?? '-',
    status.slots ?? '-',
    status.delayed ?? '-',
    status.dead ?? '-',
    status.arrivalRate ?? '-',
    status.serviceTime?.p50 ?? '-',
    status.startTime?.p50 ?? '-',
    oneLine(status.lastDecision ?? '', DECISION),
  ];
  return [
    ...(namespaces ? [metadata.namespace] : []),
    ...row,
    waiting,
    inFlight,
    replicas,
    desiredReplicas,
    { text: ready?.status ?? 'Unknown', colour: ready?.status === 'False' ? ('red' as const) : undefined },
    ready?.reason ?? 'NotSeen',
    Number.isNaN(created) ? '-' : age(now - created),
    ...(wide ? more : []),
  ];
}

/** A pool's problems, one sentence each, once; `bad`: the pool does not work until it is fixed. */
export function describeTroubles({ status }: WorkerPool): { readonly bad: boolean; readonly text: string }[] {
  const told = new Set<string>();
  return (status?.conditions ?? []).flatMap(({ type, status: is, reason, message }) => {
    // what makes a pool unready has a condition of its own beside it
    if (told.has(message)) return [];
    const bad = BAD.has(type) && is === 'False';
    const dubious = DUBIOUS.has(type) && is === 'True';
    if (!bad && !dubious) return [];
    told.add(message);
    return [{ bad, text: `${type} ${reason}: ${message}` }];
  });
}

const BAD = new Set(['Ready', 'RedisReachable', 'SourceReadable']);
const DUBIOUS = new Set([
  'TargetMissed',
  'EvictionPossible',
  'PoisonTasks',
  'PartitionsLeft',
  'PartitionsUnserved',
  'PrioritiesUnserved',
  'ParkingFailed',
]);

/** The condition of that type, if the controller has set it. */
export function conditionOf(
  { status }: WorkerPool,
  type: string,
): { status: string; reason: string; message: string } | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

export type PoolOrder = 'name' | 'waiting' | 'in-flight' | 'replicas' | 'dead' | 'age';

const FIGURES: Record<PoolOrder, (pool: WorkerPool) => number> = {
  name: () => 0,
  waiting: ({ status }) => status?.waiting ?? -1,
  'in-flight': ({ status }) => status?.inFlight ?? -1,
  replicas: ({ status }) => status?.replicas ?? -1,
  dead: ({ status }) => status?.dead ?? -1,
  age: ({ metadata }) => -Date.parse(metadata.creationTimestamp ?? '') || 0,
};

/** Sorted by this column: names alphabetically, numbers descending. */
export function sortedPools(pools: readonly WorkerPool[], order: PoolOrder): WorkerPool[] {
  const figure = FIGURES[order];
  return pools.toSorted((a, b) => figure(b) - figure(a) || (keyOf(a) < keyOf(b) ? -1 : 1));
}
