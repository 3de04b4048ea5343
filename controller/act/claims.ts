/**
 * Conflicting claims to a Deployment or a queue. Two writers of the replicas of one Deployment revert each other's value every
 * second: so of the pools that adopt it only the oldest scales it, and every pool yields to a HorizontalPodAutoscaler, which does
 * not coordinate with others. Two pools on one queue do not conflict, but each has replicas for all tasks in it.
 *
 * It is an index: with thousands of pools, a step cannot afford to search all of them.
 */
import type { HorizontalPodAutoscaler, KubeObject, ObjectMeta } from '../../kube/wire.ts';
import { keyOf } from '../../kube/watch.ts';
import {
  Mode,
  queuesOf,
  type CronSpec,
  type WorkerPool,
  type WorkerPoolSpec,
} from '../../kube/workerpool.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { levelName, LEVELS, type Level } from '../../queue/priorities.ts';

/** The part of a HorizontalPodAutoscaler that is cached. */
export interface KnownAutoscaler extends KubeObject {
  /** The Deployment that it scales; `undefined` for anything else. */
  readonly deployment: string | undefined;
  /** The KEDA ScaledObject that it was created for. */
  readonly scaledObject: string | undefined;
}

export function autoscalerOf({ metadata, spec }: HorizontalPodAutoscaler): KnownAutoscaler {
  const { kind, name } = spec?.scaleTargetRef ?? {};
  const { namespace, labels } = metadata;
  return {
    metadata: { name: metadata.name, ...(namespace && { namespace }) },
    deployment: kind === 'Deployment' ? name : undefined,
    scaledObject: labels?.['scaledobject.keda.sh/name'],
  };
}

/** Who scales a pool's Deployment instead of the pool. */
export interface Rival {
  /** Human-readable. */
  readonly who: string;
  /** It is a HorizontalPodAutoscaler, not another pool. */
  readonly autoscaler: boolean;
}

export interface Claims {
  /** Updates the claims of a pool; `undefined` removes them. Returns the keys of other pools that are affected. */
  pool(key: string, now: WorkerPool | undefined): readonly string[];
  /** The same for a HorizontalPodAutoscaler. */
  autoscaler(key: string, now: KnownAutoscaler | undefined): readonly string[];
  /** `undefined` if the pool may scale its Deployment. */
  takenBy(pool: WorkerPool): Rival | undefined;
  /** Other pools that have replicas for one of its queues, human-readable; `undefined` for none. */
  sharing(pool: WorkerPool): string | undefined;
  /** Priorities of its queue that other pools serve. */
  prioritiesBeside(pool: WorkerPool): readonly Level[];
  /** Cron tasks of other pools whose tasks go to the same list. */
  cronsBeside(pool: WorkerPool): readonly CronBeside[];
}

/** What tells cron tasks of one list apart, and when their tasks are due. */
export type CronTimesSpec = Pick<CronSpec, 'name' | 'schedule' | 'timeZone'>;

export interface CronBeside {
  readonly cron: CronTimesSpec;
  /** Its pool, human-readable, and whether that is older. */
  readonly who: string;
  readonly isOlder: boolean;
}

export function createClaims(): Claims {
  const adopters = createIndex<Claimant>();
  const consumers = createIndex<Claimant>();
  const scalers = createIndex<KnownAutoscaler>();

  return {
    pool: (key, now) => {
      // a pool in a dry run, or one that is being deleted, claims nothing
      const wants = now && !now.metadata.deletionTimestamp && now.spec.mode !== Mode.DryRun ? now : undefined;
      const claimant = wants && claimantOf(key, wants);
      const adopts = claimant && wants?.spec.scaleTargetRef ? [claimant.deployment] : [];
      const touched = [
        ...adopters.set(key, adopts, claimant),
        ...consumers.set(key, wants ? queueNames(wants) : [], claimant),
      ];
      return [...new Set(touched)].filter((other) => other !== key);
    },
    autoscaler: (key, now) => {
      const { namespace = '' } = now?.metadata ?? {};
      const target = now?.deployment === undefined ? [] : [`${namespace}/${now.deployment}`];
      const before = scalers.placesOf(key);
      scalers.set(key, target, now);
      // a pool's own Deployment has its name
      const places = [...before, ...target];
      return [...places, ...keysAt(adopters, places)];
    },
    takenBy: (pool) => {
      if (pool.spec.mode === Mode.DryRun) return undefined;
      const target = deploymentKeyOf(pool);
      const [scaler] = scalers.at(target);
      if (scaler) {
        const { metadata, scaledObject } = scaler.value;
        const made = scaledObject === undefined ? '' : ` of ScaledObject "${scaledObject}"`;
        return { who: `HorizontalPodAutoscaler "${metadata.name}"${made}`, autoscaler: true };
      }
      if (!pool.spec.scaleTargetRef) return undefined;
      const first = adopters
        .at(target)
        .map(({ value }) => value)
        .toSorted(byAge)[0];
      if (!first || byAge(first, pool.metadata) >= 0) return undefined;
      return { who: `pool "${first.name}", which is older,`, autoscaler: false };
    },
    sharing: (pool) => {
      const mine = keyOf(pool);
      const others = queueNames(pool).flatMap((queue) => consumers.at(queue));
      if (others.every(({ key }) => key === mine)) return undefined;
      const byKey = new Map(others.map(({ key, value }) => [key, value]));
      byKey.delete(mine);
      const found = [...byKey.values()].filter(({ deployment }) => deployment !== deploymentKeyOf(pool));
      const near = found.filter(({ namespace }) => namespace === pool.metadata.namespace);
      const [first] = near.map(({ name }) => name).toSorted();
      if (found.length === 0) return undefined;
      // names in other namespaces are not disclosed to its users
      const more = found.length - (first === undefined ? 0 : 1);
      const rest = first === undefined ? `${more} of other namespaces` : more > 0 ? ` and ${more} more` : '';
      return first === undefined ? rest : `"${first}"${rest}`;
    },
    prioritiesBeside: (pool) => {
      const place = placesFor(pool);
      const mine = keyOf(pool);
      return LEVELS.filter((level) => {
        const [list = ''] = levelsOf({ queue: pool.spec.queue, priorities: [level] });
        return consumers.at(place(list)).some(({ key }) => key !== mine);
      });
    },
    cronsBeside: (pool) => {
      const mine = keyOf(pool);
      const [list = ''] = queueNames(pool);
      return consumers.at(list).flatMap(({ key, value: other }) => {
        const { namespace, name, crons } = other;
        if (key === mine || crons?.list !== list) return [];
        const isNear = namespace === pool.metadata.namespace;
        const who = isNear ? `pool "${name}"` : 'a pool of another namespace';
        const isOlder = byAge(other, pool.metadata) < 0;
        return crons.all.map((cron) => ({ cron, who, isOlder }));
      });
    },
  };
}

/** What is kept of a pool: to keep all of it would be to keep an old copy of each. */
interface Claimant extends Pick<ObjectMeta, 'creationTimestamp'> {
  readonly namespace: string;
  readonly name: string;
  /** `namespace/name`. */
  readonly deployment: string;
  /** With the list that their tasks go to; absent without any. */
  readonly crons?: { readonly list: string; readonly all: readonly CronTimesSpec[] };
}

/** `key`: of the pool. */
function claimantOf(key: string, pool: WorkerPool): Claimant {
  const { namespace, name, creationTimestamp } = pool.metadata;
  return {
    namespace,
    name,
    // its own has the name of the pool: the same text serves
    deployment: pool.spec.scaleTargetRef ? deploymentKeyOf(pool) : key,
    ...(creationTimestamp && { creationTimestamp }),
    ...(pool.spec.crons && { crons: cronsOf(pool) }),
  };
}

function cronsOf(pool: WorkerPool): NonNullable<Claimant['crons']> {
  const [list = ''] = queueNames(pool);
  const { crons = [] } = pool.spec;
  return { list, all: crons.map(({ name, schedule, timeZone }) => ({ name, schedule, timeZone })) };
}

/** `namespace/name` of the Deployment. */
function deploymentKeyOf({ metadata: { namespace, name }, spec }: WorkerPool): string {
  return `${namespace}/${spec.scaleTargetRef?.name ?? name}`;
}

/** Identifies a pool's queues, as far as the specs show: a server may be reached under several addresses. */
function queueNames(pool: WorkerPool): string[] {
  return listsOf(pool.spec).map(placesFor(pool));
}

function listsOf(spec: WorkerPoolSpec): string[] {
  const { queue, result, partitions = 1 } = spec;
  if (partitions <= 1) return [...queuesOf(spec), ...levelsOf(spec)];
  try {
    return partitionKeys(queue, result, partitions).map((keys) => keys.queue);
  } catch {
    // the pool itself reports it
    return [];
  }
}

function placesFor({ metadata: { namespace }, spec }: WorkerPool): (queue: string) => string {
  const { url, urlFrom, sentinel, cluster } = spec.redis;
  const where = urlFrom ? [namespace, urlFrom] : [url, sentinel, cluster];
  return (queue) => JSON.stringify([...where, queue]);
}

function levelsOf({ queue, priorities = [] }: Pick<WorkerPoolSpec, 'queue' | 'priorities'>): string[] {
  try {
    return priorities.map((level) => levelName(queue, level));
  } catch {
    // the pool itself reports it
    return [];
  }
}

type Aged = Pick<Claimant, 'namespace' | 'name' | 'creationTimestamp'>;

/** Oldest first; pools created in the same second by name, those of one name by namespace. */
function byAge(a: Aged, b: Aged): number {
  const [one, other] = [a, b].map(
    ({ creationTimestamp = '', namespace, name }) => `${creationTimestamp} ${name} ${namespace}`,
  );
  return one === other ? 0 : (one ?? '') < (other ?? '') ? -1 : 1;
}

function keysAt(index: Index<unknown>, places: readonly string[]): string[] {
  return places.flatMap((place) => index.at(place).map(({ key }) => key));
}

interface Entry<T> {
  readonly key: string;
  readonly value: T;
}

interface Index<T> {
  at(place: string): readonly Entry<T>[];
  placesOf(key: string): readonly string[];
  /** Moves it to exactly these places. Returns the keys of all entries that share, or shared, one of them. */
  set(key: string, places: readonly string[], value: T | undefined): string[];
}

function createIndex<T>(): Index<T> {
  // nearly all places have one entry, and a map of it would take 180 bytes of each of thousands
  const places = new Map<string, Entry<T> | readonly Entry<T>[]>();
  const placesOf = new Map<string, readonly string[]>();
  const at = (place: string): readonly Entry<T>[] => {
    const found = places.get(place) ?? [];
    return 'key' in found ? [found] : found;
  };
  const put = (place: string, entries: readonly Entry<T>[]): void => {
    const [first, ...others] = entries;
    if (first) places.set(place, others.length > 0 ? entries : first);
    else places.delete(place);
  };
  return {
    at,
    placesOf: (key) => placesOf.get(key) ?? [],
    set: (key, now, value) => {
      const before = placesOf.get(key) ?? [];
      const others = (place: string): Entry<T>[] => at(place).filter((entry) => entry.key !== key);
      for (const place of before) put(place, others(place));
      placesOf.delete(key);
      if (value !== undefined && now.length > 0) {
        placesOf.set(key, now);
        const entry = { key, value };
        for (const place of now) put(place, [...others(place), entry]);
      }
      return [...before, ...now].flatMap((place) => at(place).map((entry) => entry.key));
    },
  };
}
