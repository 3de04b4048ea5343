/**
 * `controller/reconcile/` takes the key of a pool and what the stages remember of it, calls one stage after the other and
 * returns when to reconcile it again. It decides nothing itself and never learns why it was called. What runs while the
 * controller leads, and calls it, is controller.ts.
 *
 * Brings one pool to its spec, from any state. It is called with a key, for any reason, and reads the current state each time;
 * additional calls change nothing.
 *
 * The state between calls consists of hints (addresses, what was applied) and values that `decide` returned; losing all of it, as
 * in a restart, costs a little work and one window without scale-in. Memories are also stored in Redis.
 */
import { refOf } from '../../kube/watch.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { finalize, FINALIZER } from '../act/finalize.ts';
import { disconnect } from '../connect/connect.ts';
import { shareSecrets } from '../connect/shared-secrets.ts';
import { leftOutStatus } from '../report/quarantine-status.ts';
import { createReporter } from '../report/report.ts';
import type { ReconcileContext, ReconcileDeps } from './context.ts';
import { nothingRemembered, type Remembered } from './remembered.ts';
import { connect, scale } from './scale.ts';

/** Other controllers may readmit a pool early. */
const LONGEST_PAUSE_MS = 60_000;

export type Reconcile = (key: string) => Promise<number | undefined>;

/** Returns the function that the work queue calls with a key, and which returns the delay of the next call, ms. */
export function createReconcile(deps: ReconcileDeps): Reconcile {
  const { api, hub, guard, clock, signal, journal } = deps;
  const connecting = { secrets: shareSecrets(api.secrets, clock), hub, guard, clock, signal };
  const context: ReconcileContext = { ...deps, reporter: createReporter(deps), connecting };
  const remembered = new Map<string, Remembered>();

  async function reconcile(key: string): Promise<number | undefined> {
    const pool = deps.pools.get(key);
    if (!pool) {
      remembered.delete(key);
      return forget(context, key);
    }
    const state = remembered.get(key) ?? nothingRemembered();
    remembered.set(key, state);
    const pauseMs = deps.leftOutFor(key);
    if (pauseMs > 0) letGo(context, key, state);
    if (pool.metadata.deletionTimestamp) return remove(context, key, pool, state);
    await addFinalizer(context, key, pool);
    return pauseMs > 0 ? leaveOut(context, pool, state, pauseMs) : scale(context, pool, state);
  }

  return async (key) => {
    const ended = journal.begin(key);
    try {
      return await reconcile(key);
    } finally {
      ended();
    }
  };
}

async function addFinalizer({ api, signal }: ReconcileContext, key: string, pool: WorkerPool): Promise<void> {
  const { finalizers = [], resourceVersion = '' } = pool.metadata;
  if (finalizers.includes(FINALIZER)) return;
  await api.pools.setFinalizers(refOf(key), [...finalizers, FINALIZER], resourceVersion, { signal });
}

/** Stops reading the pool's Redis. */
function letGo({ hub, links, followAdopted }: ReconcileContext, key: string, state: Remembered): void {
  hub.release(key);
  links.delete(key);
  followAdopted(key, undefined);
  disconnect(state.connect);
}

async function leaveOut(
  { reporter, clock }: ReconcileContext,
  pool: WorkerPool,
  { report }: Remembered,
  pauseMs: number,
): Promise<number> {
  await reporter.status(pool, leftOutStatus(pool, report, pauseMs, clock.now()), report);
  return Math.min(pauseMs, LONGEST_PAUSE_MS);
}

/** One attempt to remove a pool that is being deleted. Returns the delay of the next attempt, ms, if any. */
async function remove(
  context: ReconcileContext,
  key: string,
  pool: WorkerPool,
  state: Remembered,
): Promise<number | undefined> {
  const { api, clock, signal, log, reporter } = context;
  state.leavingSince ??= clock.elapsed();
  const leftOut = context.leftOutFor(key) > 0;
  const redis = leftOut ? undefined : await connect(context, pool, state).catch(() => undefined);
  context.memories.forget(key);
  context.forgotten(key);
  return finalize({
    api,
    pool,
    redis,
    waitedMs: clock.elapsed() - state.leavingSince,
    otherPriorities: context.claims.prioritiesBeside(pool),
    signal,
    onReturned: (tasks) => log.info({ pool: key, tasks }, 'tasks of a deleted pool are back in the queue'),
    onGivenUp: (error) => {
      log.warn(
        { pool: key, err: error },
        'cannot return the tasks of a deleted pool: they return when their leases expire',
      );
      const note = `Tasks of its workers could not be put back (${(error as Error).message}): they return when their leases expire.`;
      reporter.event(pool, { type: 'Warning', reason: 'TasksLeftToLeases', action: 'Finalize', note });
    },
  });
}

/** Discards all state of a pool that was deleted. */
function forget(context: ReconcileContext, key: string): undefined {
  context.links.delete(key);
  context.memories.forget(key);
  context.forgotten(key);
  context.followAdopted(key, undefined);
  context.hub.release(key);
  context.metrics.pools.forget(key);
}
