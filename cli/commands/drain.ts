/**
 * `millrace drain`: workers take no more tasks, hand back those that they have not started and finish the others; the command waits
 * until they have. This request is separate from the controller's own: see queue/scripts/workers/drain.lua.
 */
import type { RedisOf } from '../../queue/location.ts';
import { HOLDER_PREFIX } from '../../queue/outcomes/held-task.ts';
import { drainWorkers, endWaits } from '../../queue/workers/drain.ts';
import type { WorkerLoads } from '../../queue/workers/worker-load.ts';
import { systemClock } from '../../runtime/clock.ts';
import { formatDuration } from '../../runtime/duration.ts';
import { UsageError } from '../../runtime/program.ts';
import { withRedis } from '../access/access.ts';
import { checkOwnQueues } from '../access/own-queues.ts';
import type { Place } from '../access/place.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import { readWorkers } from './workers.ts';

export interface DrainFlags extends AccessFlags {
  readonly all?: true;
  /** ms. */
  readonly for: number;
  readonly undo?: true;
  /** ms. */
  readonly timeout?: number;
}

/** An idle worker acknowledges within milliseconds, a busy one with its next turn. */
const POLL_MS = 250;

export async function drain(workers: readonly string[], flags: DrainFlags): Promise<void> {
  if (workers.length > 0 && flags.all) throw new UsageError('both workers and --all are given: choose one');
  if (workers.length === 0 && !flags.all && flags.pool === undefined)
    throw new UsageError(
      'drain needs ids of workers, --pool for all of a pool, or --all: see millrace workers',
    );
  await withRedis(
    flags,
    async (_redis, place, redisOf) => {
      checkOwnQueues(place);
      const ids = await chosen(redisOf, place, workers);
      if (flags.undo) {
        await drainWorkers(redisOf, place.queues, new Map(ids.map((id) => [id, 'release'])));
        process.stdout.write(
          ids
            .map(
              (id) => `${id} takes tasks again
`,
            )
            .join(''),
        );
        return;
      }
      await untilDrained(redisOf, place, ids, flags);
      process.stderr.write(`${whatIsNext(place, ids, flags.for)}\n`);
    },
    { writes: true },
  );
}

async function chosen(
  redisOf: RedisOf,
  { queues, pool }: Place,
  named: readonly string[],
): Promise<string[]> {
  const there = (await readWorkers(redisOf, queues, false)).map(({ id }) => id);
  const where = pool ? `pool ${pool.metadata.name}` : `queue ${queues[0].queue}`;
  const missing = named.find((id) => !there.includes(id));
  if (missing !== undefined)
    throw new Error(`${where} has no worker "${missing}": it has ${there.join(', ') || 'none'}`);
  if (there.length === 0) throw new Error(`${where} has no workers: there is nothing to drain`);
  const ids = named.length > 0 ? [...named] : there;
  const workers = ids.filter((id) => !id.startsWith(HOLDER_PREFIX));
  // beside workers, Jobs are left alone unless they are named
  if (workers.length === ids.length || (named.length === 0 && workers.length > 0)) return workers;
  const job = ids.find((id) => id.startsWith(HOLDER_PREFIX));
  throw new Error(
    `${where} has "${job}", a Job, which ends with its task: only workers can be drained (millrace pause: no further Jobs are created)`,
  );
}

/** Prints each worker when it is drained. One that leaves meanwhile has finished as well. */
async function untilDrained(
  redisOf: RedisOf,
  { queues }: Place,
  ids: readonly string[],
  { for: forMs, timeout }: DrainFlags,
): Promise<void> {
  const deadline = timeout === undefined ? Infinity : performance.now() + timeout;
  const left = new Set(ids);
  let loads = await drainWorkers(redisOf, queues, new Map(ids.map((id) => [id, 'ask'])), forMs);
  const all = [...loads.values()];
  // queues of one server share a connection
  await Promise.all(
    Array.from(new Set(queues.map((keys) => redisOf(keys))), (redis) => endWaits(redis, all)),
  );
  for (;;) {
    for (const id of left) {
      const load = loads.get(id);
      if (load && (load.state !== 'drained' || load.inFlight > 0)) continue;
      left.delete(id);
      process.stdout.write(`${id} ${load ? 'is drained' : 'has left'}\n`);
    }
    if (left.size === 0) return;
    if (performance.now() > deadline) throw new Error(stillBusy(left, loads, forMs));
    await systemClock.sleep(POLL_MS);
    loads = await drainWorkers(redisOf, queues, new Map([...left].map((id) => [id, 'read'])));
  }
}

function stillBusy(left: ReadonlySet<string>, loads: WorkerLoads, forMs: number): string {
  const who = [...left].map((id) => `${id} (${loads.get(id)?.inFlight ?? 0} in flight)`);
  return `not drained yet: ${who.join(', ')}; they go on draining for ${formatDuration(forMs)} after the request`;
}

function whatIsNext({ pool }: Place, ids: readonly string[], forMs: number): string {
  const [it, resumes] = ids.length === 1 ? ['it takes', 'resumes'] : ['they take', 'resume'];
  const back = `${it} no tasks for ${formatDuration(forMs)}, then ${resumes} (sooner: millrace drain --undo)`;
  if (!pool) return back;
  if (pool.spec.mode !== 'Active')
    return `${back}; the controller starts no others meanwhile: mode of the pool is ${pool.spec.mode}`;
  return `${back}; the controller starts others for what waits, up to maxReplicas (${pool.spec.maxReplicas}), and takes drained ones first when it scales in`;
}
