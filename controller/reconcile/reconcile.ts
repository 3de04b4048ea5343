/**
 * `controller/reconcile/` takes the key of a pool and what the stages remember of it, calls one stage after the other and
 * returns when to look again. It decides nothing itself and never learns why it was called.
 *
 * Brings one pool to what its spec says, from whatever state it is in. It is called with a key, for whatever reason,
 * and looks at everything anew; calling it once too often changes nothing.
 *
 *   address ─▶ Redis ─▶ target ─▶ step (sample → decide → act) ─▶ status, events, metrics
 *
 * What it keeps between calls is a hint (addresses, what was applied) or a value that `decide` returned; losing all of
 * it, as a restart does, costs a little work and one window without scale-in. What was learned is kept in Redis besides.
 */
import type { Pod } from '../../kube/wire.ts';
import { Mode, type WorkerPool } from '../../kube/workerpool.ts';
import { keyOf, refOf } from '../../kube/watch.ts';
import type { HostGuard } from '../../queue/connection/address.ts';
import type { Claims } from '../act/claims.ts';
import { connectPool } from '../connect/connect.ts';
import type { Memory, Policy } from '../decide/decision.ts';
import { finalize, FINALIZER } from '../act/finalize.ts';
import { recall, recentP99 } from '../act/grace-period.ts';
import {
  appliedBefore,
  kubeTarget,
  type KubeTarget,
  type KubeTargetOptions,
} from '../act/deployment-target.ts';
import type { KnownDeployment } from '../act/known-deployment.ts';
import type { Journal } from '../process/journal.ts';
import { leftOutStatus } from '../report/quarantine-status.ts';
import type { MemoryStore } from '../records/memory-store.ts';
import type { QueueLink } from '../sample/sampler.ts';
import { observe, type Observation } from '../observe/observation.ts';
import { pauseOf } from '../decide/pause.ts';
import { policyOf } from '../decide/policy.ts';
import { noAddress, troubleOf, type Trouble } from '../report/terminal-error.ts';
import type { RedisHub } from '../connect/redis-hub.ts';
import { nothingRemembered, type Remembered } from './remembered.ts';
import type { Sampled } from '../sample/sampled.ts';
import { createReporter, type ReportDeps } from '../report/report.ts';
import { shareSecrets } from '../connect/shared-secrets.ts';
import { statusOf } from '../report/status.ts';
import { drainsOf } from '../act/scale-in.ts';
import { isActive, soonest, step, type Step } from '../act/step.ts';

export interface ReconcileDeps extends ReportDeps {
  readonly pools: ReadonlyMap<string, WorkerPool>;
  readonly deployments: ReadonlyMap<string, KnownDeployment>;
  /** Pods of a pool, by the pool's key. */
  readonly podsOf: (key: string) => readonly Pod[];
  /** Who else wants what a pool wants. */
  readonly claims: Claims;
  readonly hub: RedisHub;
  readonly guard?: HostGuard | undefined;
  /** Where each pool's queue is: filled in here, for others to read. */
  readonly links: Map<string, QueueLink>;
  /** What pools have learned, beyond the life of this process. */
  readonly memories: MemoryStore;
  /** Told what happened in a pool, after each step of it. It must not throw, and keeps nobody waiting. */
  readonly observed: (pool: WorkerPool, observation: Observation) => void;
  /** What is being done is written down, for the case that it ends the process. */
  readonly journal: Pick<Journal, 'begin' | 'during'>;
  /** For how much longer nothing is done of a pool, ms: at this one the process has ended before. */
  readonly leftOutFor: (key: string) => number;
  /** Told that a pool is gone, or going. */
  readonly forgotten: (key: string) => void;
  /** Which pods of a Deployment that it did not make a pool wants to hear of; `undefined` for none. */
  readonly followAdopted: (key: string, selector: string | undefined) => void;
}

const TROUBLE_RETRY_MS = 5_000;
/** Others may take a pool back in before its time is over. */
const LONGEST_PAUSE_MS = 60_000;

export type Reconcile = (key: string) => Promise<number | undefined>;

/** Returns the function that the work queue calls: a key in, ms until it wants to be called again out. */
export function createReconcile(deps: ReconcileDeps): Reconcile {
  const { api, hub, guard, clock, signal, journal } = deps;
  const reporter = createReporter(deps);
  const connecting = { secrets: shareSecrets(api.secrets, clock), hub, guard, clock, signal };
  const remembered = new Map<string, Remembered>();

  async function reconcile(key: string): Promise<number | undefined> {
    const pool = deps.pools.get(key);
    if (!pool) return forget(key);
    const state = remembered.get(key) ?? nothingRemembered();
    remembered.set(key, state);
    const pauseMs = deps.leftOutFor(key);
    if (pauseMs > 0) letGo(key, state);
    if (pool.metadata.deletionTimestamp) return remove(key, pool, state);
    if (!pool.metadata.finalizers?.includes(FINALIZER)) {
      const { finalizers = [], resourceVersion = '' } = pool.metadata;
      await api.pools.setFinalizers(refOf(key), [...finalizers, FINALIZER], resourceVersion, { signal });
    }
    return pauseMs > 0 ? leaveOut(pool, state, pauseMs) : scale(key, pool, state);
  }

  async function leaveOut(pool: WorkerPool, state: Remembered, pauseMs: number): Promise<number> {
    const status = leftOutStatus(pool, state, pauseMs, clock.now());
    state.written = (await reporter.status(pool, state.written, status)).written;
    return Math.min(pauseMs, LONGEST_PAUSE_MS);
  }

  function letGo(key: string, state: Remembered): void {
    hub.release(key);
    deps.links.delete(key);
    deps.followAdopted(key, undefined);
    state.linked = undefined;
    state.blind = true;
  }

  async function scale(key: string, pool: WorkerPool, state: Remembered): Promise<number | undefined> {
    let redis: QueueLink | undefined;
    let trouble: Trouble | undefined;
    let done: Step | undefined;
    let target: KubeTarget | undefined;
    try {
      redis = await connect(key, pool, state);
    } catch (error) {
      trouble = troubleOf(error);
      if (!trouble) throw error;
    }
    const sampled = redis?.sampler.latest(key) ?? noAddress(trouble);
    // the first look is on its way; to decide and to report without it would be done over at once
    if (sampled.kind === 'unknown' && sampled.reason === 'NotSampledYet') return undefined;
    try {
      target = kubeTarget({
        api,
        pool,
        signal,
        applied: state.applied ?? appliedBefore(pool.status?.applied),
        known: deps.deployments.get(key),
        pods: () => deps.podsOf(key),
        taken: state.taken,
        rival: deps.claims.takenBy(pool),
        written: state.replicas,
        applier: state.applier,
        now: clock.elapsed(),
        service: serviceOf(state, sampled),
      });
      done = await act(pool, state, sampled, redis, target);
    } catch (error) {
      trouble ??= troubleOf(error);
      if (!trouble) throw error;
    }
    state.blind = sampled.kind === 'unknown';
    // plain workers hold nothing that could be put back: their pods are not worth a watch
    if (sampled.kind === 'known' && target)
      deps.followAdopted(
        key,
        pool.spec.scaleTargetRef && sampled.sample.workers > 0 ? target.selector : undefined,
      );
    if (done && target) {
      state.memory = done.decision.memory;
      if (redis) deps.memories.keep(key, redis, state.memory, clock.elapsed(), clock.now());
      state.kept = done.kept;
      state.strays = target.strays ?? state.strays;
      if (done.held && done.held.reason !== state.held) reporter.held(pool, done.held);
      state.held = done.held?.reason;
      reporter.grace(pool, target.grace, state.graceMissing);
      state.graceMissing = target.grace?.missing;
      redis?.sampler.setActive(key, isActive(done, sampled), done.decision.startMs);
      reporter.forgot(pool, done.decision);
      reporter.scaled(pool, done);
      const times = { now: clock.elapsed(), wall: clock.now() };
      const seen = { ...times, sampled, step: done };
      const { observation, observed } = journal.during(key, () => observe(seen, state.observed));
      state.observed = observed;
      deps.observed(pool, observation);
      state.wokenAt = woken(pool, sampled, state.wokenAt);
    }
    if (redis && sampled.kind === 'known')
      state.poison = await reporter.poison(pool, redis, sampled.sample, state.poison);
    const wake = redis?.sampler.wakeMode ?? '';
    const status = statusOf({
      pool: { ...pool, status: state.written?.status ?? pool.status ?? {} },
      sampled,
      step: done,
      trouble,
      wake,
      poison: state.poison?.note,
      evictionRisk: redis?.sampler.evictionRisk,
      strays: state.strays,
      sharing: deps.claims.sharing(pool),
      applier: state.applier,
      selector: target?.selector,
      applied: target?.applied,
      now: new Date(clock.now()),
    });
    const { written, comeBack } = await reporter.status(pool, state.written, status);
    state.written = written;
    return trouble ? TROUBLE_RETRY_MS : soonest(comeBack, done?.lookInMs);
  }

  /** Each ring of the wake counts once, with the first sample that saw what it was about. Returns the last that did. */
  function woken(pool: WorkerPool, sampled: Sampled, before: number | undefined): number | undefined {
    if (sampled.kind === 'unknown' || sampled.wokenAt === undefined || sampled.wokenAt === before)
      return before;
    const { waiting, inFlight, due } = sampled.sample;
    if (waiting + inFlight + due === 0) return before;
    deps.metrics.pools.woken(pool, (performance.now() - sampled.wokenAt) / 1e3);
    return sampled.wokenAt;
  }

  async function connect(key: string, pool: WorkerPool, state: Remembered): Promise<QueueLink> {
    const link = await connectPool(connecting, pool, state);
    deps.links.set(key, link);
    return link;
  }

  async function act(
    pool: WorkerPool,
    state: Remembered,
    sampled: Sampled,
    redis: QueueLink | undefined,
    target: KubeTarget,
  ): Promise<Step> {
    const policy = policyFor(pool, state);
    try {
      return await step({
        policy,
        sampled,
        target,
        memory: await memoryFor(pool, policy, state, sampled, redis),
        now: clock.elapsed(),
        wall: clock.now(),
        dryRun: pool.spec.mode === Mode.DryRun,
        around: (work) => journal.during(keyOf(pool), work),
        drains: redis ? drainsOf(redis.sampler.redis, redis.queues) : undefined,
        unmanaged: pool.spec.scaling.scaleDown.unmanaged,
        kept: state.kept,
        whose: target.whose,
      });
    } finally {
      state.applied = target.applied;
      state.replicas = target.written;
      state.applier = target.applier;
    }
  }

  /** Only the target rule learns what is worth remembering; what a pause forgot is read again after it. */
  async function memoryFor(
    pool: WorkerPool,
    policy: Policy,
    { memory }: Remembered,
    sampled: Sampled,
    redis: QueueLink | undefined,
  ): Promise<Memory> {
    if (!redis || sampled.kind === 'unknown' || policy.targetWaitMs === undefined || policy.paused)
      return memory;
    return deps.memories.recall(keyOf(pool), redis, memory, clock.elapsed(), clock.now());
  }

  async function remove(key: string, pool: WorkerPool, state: Remembered): Promise<number | undefined> {
    state.leavingSince ??= clock.elapsed();
    const leftOut = deps.leftOutFor(key) > 0;
    const redis = leftOut ? undefined : await connect(key, pool, state).catch(() => undefined);
    deps.memories.forget(key);
    deps.forgotten(key);
    return finalize({
      api,
      pool,
      redis,
      waitedMs: clock.elapsed() - state.leavingSince,
      signal,
      onReturned: (tasks) =>
        deps.log.info({ pool: key, tasks }, 'tasks of a deleted pool are back in the queue'),
      onGivenUp: (error) => {
        const note = `Tasks of its workers could not be returned (${(error as Error).message}): their leases will.`;
        reporter.event(pool, { type: 'Warning', reason: 'TasksLeftToLeases', action: 'Finalize', note });
      },
    });
  }

  function forget(key: string): undefined {
    remembered.delete(key);
    deps.links.delete(key);
    deps.memories.forget(key);
    deps.forgotten(key);
    deps.followAdopted(key, undefined);
    hub.release(key);
    deps.metrics.pools.forget(key);
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

/** Reading schedules takes longer than all else that a decision does. */
function policyFor(pool: WorkerPool, state: Remembered): Policy {
  const of = `${pool.metadata.uid}/${pool.metadata.generation}`;
  if (state.policy?.of !== of) state.policy = { value: policyOf(pool.spec), of };
  const { value } = state.policy;
  const pause = pauseOf(pool);
  return pause ? { ...value, paused: true, pause } : value;
}

function serviceOf(state: Remembered, sampled: Sampled): KubeTargetOptions['service'] {
  if (sampled.kind === 'unknown') return { p99Ms: undefined, idle: false };
  const { sample } = sampled;
  state.service = recall(state.service, sample);
  return {
    p99Ms: recentP99(state.service, sample),
    idle: sample.waiting + sample.inFlight + sample.due === 0,
  };
}
