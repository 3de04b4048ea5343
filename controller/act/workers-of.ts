/**
 * Which of the workers that are registered in Redis run in which replica. Pure.
 *
 * In a pool's own pods, a worker's id is the pod's name. In an adopted Deployment it is not set by the controller: it is the
 * pod's host name and the process id by default (`defaultWorkerId`), and a pod may run several; if the id is already in use, it
 * gets a random suffix (`mayRename`).
 */
import { mergeLoads, type WorkerLoad, type WorkerLoads } from '../../queue/workers/worker-load.ts';
import type { Member, Members } from './target.ts';

/** Identifies the pool and the Deployment of the replicas. */
export interface PoolIdentity {
  /** The pool's namespace. */
  readonly namespace: string;
  readonly pool: string;
  /** The Deployment, whose name is the prefix of its pods' names. */
  readonly target: string;
}

/** The registered workers of each member. */
export interface MemberWorkers {
  /** The total load of each member's workers; a member without a registered worker has no entry. */
  readonly loads: WorkerLoads;
  /** The worker ids that may belong to a member, its own id first. */
  readonly idsOf: (member: Member) => readonly string[];
  /** Registered workers that appear to be the pool's own and belong to no replica. */
  readonly unknown: readonly string[];
}

/** Whether a worker with this id may run in a pod of that name. */
export function mayRunIn(worker: string, pod: string): boolean {
  return worker.startsWith(pod) && /^(?:-\d+)?(?:-[0-9a-f]{8})?$/.test(worker.slice(pod.length));
}

/** Possible names of the pod in which a worker with this id runs. */
function podsOf(worker: string): string[] {
  const plain = worker.replace(/-[0-9a-f]{8}$/, '');
  return [worker, worker.replace(/-\d+$/, ''), plain, plain.replace(/-\d+$/, '')];
}

/** `workers`: all that are registered in the pool's queues. Without `identity`, worker ids are those of the members. */
export function workersOf(
  { all, ending }: Pick<Members, 'all' | 'ending'>,
  workers: WorkerLoads,
  identity: PoolIdentity | undefined,
): MemberWorkers {
  const members = new Set(all.map(({ id }) => id));
  const gone = new Set(ending);
  const ids = new Map<string, string[]>();
  const loads = new Map<string, WorkerLoad>();
  const foreign = new Set<string>();
  const unknown: string[] = [];
  for (const [id, load] of workers) {
    // pod names are unique only within a namespace
    if (identity && load.pool !== '' && !load.pool.startsWith(`${identity.namespace}/`)) {
      foreign.add(id);
      continue;
    }
    const names = podsOf(id);
    const member = names.find((name) => members.has(name));
    if (member !== undefined) {
      const before = loads.get(member);
      loads.set(member, before ? mergeLoads(before, load) : load);
      if (id !== member) ids.set(member, [...(ids.get(member) ?? []), id]);
    } else if (identity && isOurs(id, load, identity) && !names.some((name) => gone.has(name))) {
      unknown.push(id);
    }
  }
  return {
    loads,
    unknown,
    idsOf: ({ id }) => [...(foreign.has(id) ? [] : [id]), ...(ids.get(id) ?? [])],
  };
}

function isOurs(id: string, { pool }: WorkerLoad, identity: PoolIdentity): boolean {
  return pool === ''
    ? id.startsWith(`${identity.target}-`)
    : pool === `${identity.namespace}/${identity.pool}`;
}
