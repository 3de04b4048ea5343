/**
 * The controller's own loop without Kubernetes: sample, decide, act, for the queues of one pool and any Target. Each sample leads to
 * a step, one at a time; a sample that arrives during a step leads to one more.
 */
import { noMemory, type Memory, type Policy } from '../../controller/decide/decision.ts';
import { observe, type Observation, type Baseline } from '../../controller/observe/observation.ts';
import { createRecorder } from '../../controller/records/recorder.ts';
import { createSampler } from '../../controller/sample/sampler.ts';
import type { Sampler } from '../../controller/sample/sampler.ts';
import type { Sampled } from '../../controller/sample/sampled.ts';
import { cronQueueOf, runCrons, type CronsState } from '../../controller/act/crons.ts';
import type { QueueLimits } from '../../queue/limits/definition.ts';
import { limitsSetBy, setLimits } from '../../queue/limits/limits.ts';
import type { Level } from '../../queue/priorities.ts';
import { keepPriorities } from '../../controller/act/priorities.ts';
import { drainsOf } from '../../controller/act/scale-in.ts';
import { isActive, nothingKept, soonest, step, type Kept, type Step } from '../../controller/act/step.ts';
import type { Target } from '../../controller/act/target.ts';
import { Unmanaged, type CronSpec, type CronStatus } from '../../kube/workerpool.ts';
import { connectionOf, type RedisAddress } from '../../queue/connection/connection.ts';
import { writeExitReason } from '../../queue/workers/exit-reason.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { reap } from '../../queue/workers/reap.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { timeout, type Timer } from '../../runtime/timers.ts';

export interface PoolLoopOptions {
  readonly redis: RedisAddress;
  readonly queues: readonly QueueKeys[];
  /** Of partitions, the queue beside which records are kept. */
  readonly records?: QueueKeys | undefined;
  readonly policy: Policy;
  readonly target: Target;
  readonly dryRun?: boolean;
  /** Cron tasks, pushed to the first queue. */
  readonly crons?: readonly CronSpec[] | undefined;
  /** Of each queue. */
  readonly limits?: QueueLimits | undefined;
  /** Of the first queue, whose lists are among the others. */
  readonly priorities?: readonly Level[] | undefined;
  /** Ids of tasks of crons that were pushed. */
  readonly onCrons?: (ids: readonly string[]) => void;
  /** The name, `namespace/name`, under which the timeline and the decisions are recorded in Redis; without it, nothing is. */
  readonly pool?: string;
  /** Interval at which an active queue is read, ms. */
  readonly pollMs?: number;
  readonly log: Logger;
  /** After each step, in order. */
  readonly onStep: (step: Step, sampled: Sampled, crons: readonly CronStatus[]) => void;
  /** Receives what happened, after each step. */
  readonly observed?: (observation: Observation) => void;
  /** A step failed; the next sample leads to another. */
  readonly onError: (error: Error) => void;
}

export interface PoolLoop extends AsyncDisposable {
  readonly sampler: Sampler;
  /** The last sample of the queues. */
  readonly sampled: () => Sampled;
  /** Decides again with that sample, as replicas have changed by themselves: how long they took to start is learned from it. */
  decideAgain(): void;
  /**
   * Puts back the tasks of a worker that is known to be dead, before its lease ends, and records its fate. Returns the number
   * of tasks.
   */
  recover(worker: string, fate: string): Promise<number>;
}

const ID = 'pool';
/** Who sets limits. */
const DEV = 'millrace dev';

/** Starts immediately and runs until it is disposed, also while Redis is unreachable. */
export function startPoolLoop(options: PoolLoopOptions): PoolLoop {
  const { queues, records, target, policy, log } = options;
  let memory: Memory = noMemory;
  let kept: Kept = nothingKept;
  let before: Baseline | undefined;
  let later: Timer | undefined;
  let stepping: Promise<void> | undefined;
  let again = false;
  let closed = false;
  const poll = options.pollMs === undefined ? {} : { pollMs: options.pollMs };
  const sampler = createSampler({ address: options.redis, log, ...poll, onSample: kick });
  sampler.add(ID, queues);
  const recorder = createRecorder({ clock: systemClock, log });
  const crons = createCrons(options, sampler);
  const keepSettings = createSettingsKeeper(options, sampler);

  function kick(): void {
    later?.clear();
    if (closed) return;
    if (stepping) again = true;
    else stepping = act().finally(done);
  }

  function done(): void {
    stepping = undefined;
    if (!again) return;
    again = false;
    kick();
  }

  /** Never rejects. */
  async function act(): Promise<void> {
    const sampled = sampler.latest(ID);
    const times = { now: systemClock.elapsed(), wall: systemClock.now() };
    try {
      await keepSettings(sampled);
      const made = await step({
        policy,
        sampled,
        target,
        memory,
        ...times,
        dryRun: options.dryRun ?? false,
        drains: drainsOf(sampler.redisOf, queues),
        unmanaged: Unmanaged.WhenIdle,
        kept,
        partitioned: options.records !== undefined,
        identity: undefined,
      });
      memory = made.decision.memory;
      ({ kept } = made);
      const againMs = soonest(made.requeueInMs, await crons.push(sampled, times.wall));
      if (againMs !== undefined && !closed) later = timeout(againMs, kick);
      sampler.setActive(ID, isActive(made, sampled), made.decision.startMs);
      options.onStep(made, sampled, crons.status);
      const { observation, baseline } = observe({ ...times, sampled, step: made }, before);
      before = baseline;
      options.observed?.(observation);
      if (options.pool !== undefined)
        recorder.observed(options.pool, { sampler, queues, records }, observation);
    } catch (error) {
      if (!closed) options.onError(error as Error);
    }
  }

  return {
    sampler,
    sampled: () => sampler.latest(ID),
    decideAgain: kick,
    recover: async (worker, fate) => {
      let returned = 0;
      for (const keys of queues) {
        // before its tasks are available again, as one of them may be given up with this reason
        await writeExitReason(sampler.redisOf(keys), keys, worker, fate);
        returned += (await reap(sampler.redisOf(keys), keys, worker, 'any', 'lost')) ?? 0;
      }
      return returned;
    },
    [Symbol.asyncDispose]: async () => {
      closed = true;
      later?.clear();
      await recorder[Symbol.asyncDispose]();
      await sampler[Symbol.asyncDispose]();
      await stepping;
    },
  };
}

interface Crons {
  readonly status: readonly CronStatus[];
  /** Pushes what is due. Resolves to when to look again, ms. */
  push(sampled: Sampled, now: number): Promise<number | undefined>;
}

function createCrons(
  { queues, records, crons = [], onCrons, dryRun }: PoolLoopOptions,
  sampler: Sampler,
): Crons {
  const state: CronsState = new Map();
  let status: readonly CronStatus[] = [];
  const partitioned = records !== undefined;
  const keys = cronQueueOf(queues, partitioned);
  return {
    get status() {
      return status;
    },
    push: async (sampled, now) => {
      if (!keys || crons.length === 0 || dryRun || sampled.kind === 'unknown') return undefined;
      const { waiting, inFlight, delayed } = sampled.sample;
      const empty = waiting + inFlight + delayed === 0;
      const redis = sampler.redisOf(keys);
      const ran = await runCrons({ crons, redis, keys, partitioned, now, empty, formerly: [] }, state);
      ({ status } = ran);
      if (ran.pushed.length > 0) onCrons?.(ran.pushed);
      return ran.nextInMs;
    },
  };
}

/**
 * Writes limits and priorities beside the queues as soon as Redis can be reached, on each connection once; and limits again
 * when they are gone.
 */
function createSettingsKeeper(
  { queues, dryRun = false, ...options }: PoolLoopOptions,
  sampler: Sampler,
): (sampled: Sampled) => Promise<void> {
  const limits = dryRun ? undefined : options.limits;
  const priorities = dryRun ? [] : (options.priorities ?? []);
  /** The connection on which they were written last: the server behind another one may have forgotten them. */
  let writtenOn: ReturnType<typeof connectionOf>;
  /** Whoever has emptied the database has taken the limits, too. */
  const areThere = async (): Promise<boolean> => {
    const setBy = await Promise.all(queues.map((keys) => limitsSetBy(sampler.redisOf(keys), keys)));
    return !setBy.includes(undefined);
  };
  return async (sampled) => {
    const [first] = queues;
    if (sampled.kind === 'unknown' || !first || (!limits && priorities.length === 0)) return;
    const on = connectionOf(sampler.redisOf(first));
    if (on === writtenOn && (!limits || (await areThere()))) return;
    for (const keys of limits ? queues : []) {
      const redis = sampler.redisOf(keys);
      // those that somebody has set since stay
      const isOurs = writtenOn === undefined || [undefined, DEV].includes(await limitsSetBy(redis, keys));
      if (isOurs && limits) await setLimits(redis, keys, limits, DEV);
    }
    await keepPriorities({ link: { queues, sampler }, open: priorities });
    writtenOn = on;
  };
}
