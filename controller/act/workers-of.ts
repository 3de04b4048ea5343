/**
 * Which of the workers that are registered in Redis run in which replica. Pure.
 *
 * A pool's own pods call their workers by the pod's name. In an adopted Deployment nobody told them what to call themselves:
 * then it is the pod's host name and a process id (`defaultWorkerId`), and a pod may hold several; the second one of a name
 * has something random behind it (`mayRename`).
 */
import { mergeLoads, type WorkerLoad, type WorkerLoads } from '../../queue/workers/worker-load.ts';
import type { Member, Members } from './target.ts';

/** Whose replicas these are. */
export interface Whose {
  /** Of the pool. */
  readonly namespace: string;
  readonly pool: string;
  /** The Deployment, which the names of its pods begin with. */
  readonly target: string;
}

export interface Manned {
  /** What each member's workers hold together; a member without a registered worker has no entry. */
  readonly loads: WorkerLoads;
  /** The ids under which a member may be registered, its own one first. */
  readonly idsOf: (member: Member) => readonly string[];
  /** Registered workers that look like ours and are in none of the replicas. */
  readonly unknown: readonly string[];
}

/** Whether a worker of this id may run in a pod of that name. */
export function mayRunIn(worker: string, pod: string): boolean {
  return worker.startsWith(pod) && /^(?:-\d+)?(?:-[0-9a-f]{8})?$/.test(worker.slice(pod.length));
}

/** What a pod may be called in which a worker of this id runs. */
function podsOf(worker: string): string[] {
  const plain = worker.replace(/-[0-9a-f]{8}$/, '');
  return [worker, worker.replace(/-\d+$/, ''), plain, plain.replace(/-\d+$/, '')];
}

/** `workers`: all that are registered in the pool's queues. Without `whose`, ids are the members' own. */
export function workersOf(
  { all, ending }: Pick<Members, 'all' | 'ending'>,
  workers: WorkerLoads,
  whose: Whose | undefined,
): Manned {
  const members = new Set(all.map(({ id }) => id));
  const gone = new Set(ending);
  const ids = new Map<string, string[]>();
  const loads = new Map<string, WorkerLoad>();
  const foreign = new Set<string>();
  const unknown: string[] = [];
  for (const [id, load] of workers) {
    // names of pods are unique in a namespace, and not beyond
    if (whose && load.pool !== '' && !load.pool.startsWith(`${whose.namespace}/`)) {
      foreign.add(id);
      continue;
    }
    const names = podsOf(id);
    const member = names.find((name) => members.has(name));
    if (member !== undefined) {
      const before = loads.get(member);
      loads.set(member, before ? mergeLoads(before, load) : load);
      if (id !== member) ids.set(member, [...(ids.get(member) ?? []), id]);
    } else if (whose && isOurs(id, load, whose) && !names.some((name) => gone.has(name))) {
      unknown.push(id);
    }
  }
  return {
    loads,
    unknown,
    idsOf: ({ id }) => [...(foreign.has(id) ? [] : [id]), ...(ids.get(id) ?? [])],
  };
}

function isOurs(id: string, { pool }: WorkerLoad, whose: Whose): boolean {
  return pool === '' ? id.startsWith(`${whose.target}-`) : pool === `${whose.namespace}/${whose.pool}`;
}
