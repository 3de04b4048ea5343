/**
 * `millrace workers`: the workers of a queue or a pool with their states, and with `--tasks` the ids of their tasks. Of a pool with
 * a source, the workers of that library, as far as it shows them.
 */
import type { Redis } from 'ioredis';
import { inspectQueue, stateTogether, type WorkerView } from '../../queue/inspect.ts';
import type { SourceSpec } from '../../kube/source-spec.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import { listSourceWorkers, type ListedWorker } from '../../queue/sources/list-workers.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { parseTask, shortId } from '../../queue/task.ts';
import { withRedis } from '../access/access.ts';
import { checkOwnQueues } from '../access/own-queues.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import { print, type Output } from '../terminal/output.ts';
import { age, table, type Cell } from '../terminal/table.ts';

export interface WorkersFlags extends AccessFlags {
  readonly tasks?: true;
  readonly output: Output;
}

/** A worker, merged over all queues that it serves. */
export interface WorkerSummary {
  readonly id: string;
  /** starting, idle, busy, draining, drained, or `lost` if its lease has expired and it has not been reaped yet. */
  readonly state: string;
  readonly inFlight: number;
  readonly slots: number;
  /** Why it has so many, where it finds their number itself. */
  readonly slotsWhy?: string;
  /** ms since it registered. */
  readonly ageMs: number;
  readonly epoch: number;
  readonly version: string;
  /** Ids of the tasks that it holds, a hundred or so at most, if requested. */
  readonly tasks?: readonly string[];
}

export async function showWorkers(flags: WorkersFlags): Promise<void> {
  await withRedis(flags, async (redis, place, redisOf) => {
    const source = place.pool?.spec.source;
    if (source && !flags.tasks) return await showSourceWorkers(redis, source, flags.output);
    checkOwnQueues(place);
    const found = await readWorkers(redisOf, place.queues, flags.tasks === true);
    await print(flags.output, found, () => {
      const head = ['WORKER', 'STATE', 'IN FLIGHT', 'SLOTS', 'AGE', 'EPOCH', 'VERSION'];
      const explained = found.some(({ slotsWhy }) => slotsWhy !== undefined);
      const more = [...(explained ? ['WHY SO MANY SLOTS'] : []), ...(flags.tasks ? ['TASKS'] : [])];
      return table(
        [...head, ...more],
        found.map((worker) => rowOf(worker, explained)),
      );
    });
  });
}

function rowOf(worker: WorkerSummary, explained: boolean): Cell[] {
  const { id, state, inFlight, slots, slotsWhy = '', ageMs, epoch, version, tasks } = worker;
  const row: Cell[] = [
    id,
    { text: state, colour: COLOURS[state] },
    inFlight,
    slots,
    age(ageMs),
    epoch,
    version,
  ];
  if (explained) row.push(slotsWhy);
  if (tasks) row.push(tasks.join(' '));
  return row;
}

async function showSourceWorkers(redis: Redis, spec: SourceSpec, output: Output): Promise<void> {
  const { workers, notes } = await listSourceWorkers(redis, sourceOf(spec));
  for (const note of notes) process.stderr.write(`${note}\n`);
  await print(output, workers, () =>
    table(
      ['WORKER', 'HOST', 'STATE', 'TASKS', 'IDLE', 'AS OF'],
      workers.map((worker): Cell[] => {
        const { id, host = '-', state, idleMs } = worker;
        const idle = idleMs === undefined ? '-' : age(idleMs);
        return [id, host, { text: state, colour: COLOURS[state] }, tasksOf(worker), idle, knownFor(worker)];
      }),
    ),
  );
}

/** A number that is shared with other workers is the most that this one may hold. */
export function tasksOf({ tasks, tasksShared }: ListedWorker): string | number {
  return tasksShared && tasks > 0 ? `≤${tasks}` : tasks;
}

/** How old that may be what is known of a worker. */
export function knownFor({ ageMs }: ListedWorker): string {
  return ageMs < 1_000 ? 'now' : `≤${age(ageMs)} ago`;
}

const COLOURS: Record<string, 'green' | 'yellow' | 'red'> = {
  busy: 'green',
  draining: 'yellow',
  drained: 'yellow',
  lost: 'red',
  silent: 'red',
};

/** The workers of these queues, by id; a worker of several queues is listed once. */
export async function readWorkers(
  redisOf: RedisOf,
  queues: readonly QueueKeys[],
  withTasks: boolean,
): Promise<WorkerSummary[]> {
  const workers = new Map<string, WorkerSummary>();
  const views = await Promise.all(queues.map((keys) => inspectQueue(redisOf(keys), keys)));
  for (const [i, keys] of queues.entries()) {
    const { now = 0, workerList = [] } = views[i] ?? {};
    for (const worker of workerList) {
      const here: WorkerSummary = {
        id: worker.id,
        state: stateOf(worker),
        inFlight: worker.inFlight,
        slots: worker.concurrency,
        ...(worker.slotsWhy !== undefined && { slotsWhy: worker.slotsWhy }),
        ageMs: now - worker.started,
        epoch: worker.epoch,
        version: worker.version,
        ...(withTasks ? { tasks: await heldBy(redisOf(keys), keys, worker.id) } : {}),
      };
      const other = workers.get(worker.id);
      workers.set(worker.id, other ? together(other, here) : here);
    }
  }
  return [...workers.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

/** A worker reports its state with each turn and takes tasks in it: the tasks are newer than the state. */
export function stateOf({ state, inFlight, leaseLeft }: WorkerView): string {
  if (leaseLeft <= 0) return 'lost';
  return inFlight > 0 && (state === 'idle' || state === 'starting') ? 'busy' : state;
}

function together(one: WorkerSummary, other: WorkerSummary): WorkerSummary {
  return {
    ...one,
    state: stateTogether([one.state, other.state]),
    inFlight: one.inFlight + other.inFlight,
    ageMs: Math.max(one.ageMs, other.ageMs),
    ...(one.tasks ? { tasks: [...one.tasks, ...(other.tasks ?? [])] } : {}),
  };
}

async function heldBy(redis: Redis, keys: QueueKeys, worker: string): Promise<string[]> {
  const [, entries] = await redis.hscanBuffer(keys.inflight(worker), '0', 'COUNT', 100);
  return entries.filter((_, i) => i % 2 === 1).map((raw) => shortId(parseTask(raw).id, 40));
}
