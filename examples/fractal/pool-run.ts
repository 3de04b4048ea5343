/**
 * One run of a pool from nothing to nothing: starts the loop, pushes the tasks once the pool stands at zero, and
 * resolves when all are finished and the last worker has gone. Every sample on the way is noted and shown.
 */
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { startPoolLoop } from '../../cli/dev/pool-loop.ts';
import type { LocalTarget } from '../../cli/dev/local-target.ts';
import type { Policy } from '../../controller/decide/decision.ts';
import type { Sampled } from '../../controller/sample/sampled.ts';
import type { Step } from '../../controller/act/step.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { readDeadLetters } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { systemClock } from '../../runtime/clock.ts';
import { rateOf, type Moment } from './history.ts';
import type { Progress } from './progress.ts';

export interface PoolRunOptions {
  readonly address: RedisAddress;
  /** A plain Redis client, as in any program. */
  readonly redis: Redis;
  readonly keys: QueueKeys;
  readonly policy: Policy;
  readonly target: LocalTarget;
  readonly tasks: readonly string[];
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

export interface PoolRun {
  readonly history: readonly Moment[];
  /** From the push to the resulting decision, ms. */
  readonly wokeMs: number;
  /** From the push to the last result, and until no worker was left, s. */
  readonly completeS: number;
  readonly goneS: number;
}

const POLL_MS = 100;
/** Period over which the displayed rate is computed, ms. */
const RATE_MS = 2_000;
/** Time at zero replicas that is shown before the tasks are pushed, ms. */
const STILL_MS = 500;
/** Without a finished task for this long, the run fails, ms. */
const STALL_TIMEOUT_MS = 60_000;

/** Rejects with the signal's reason, or if a task fails for good or none finishes for a minute. */
export async function runPool(options: PoolRunOptions): Promise<PoolRun> {
  const { redis, keys, policy, target, tasks, progress } = options;
  const history: Moment[] = []; // in ms of this process until the end
  const still = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  const broken = new AbortController();
  let pushed = Infinity;
  let woke: number | undefined;
  let complete: number | undefined;
  let lastFinish = performance.now();

  function onStep({ scaled, replicas }: Step, sampled: Sampled): void {
    if (sampled.kind !== 'known') return;
    const { waiting, inFlight, counters, dead } = sampled.sample;
    const now = performance.now();
    still.resolve();
    if (scaled && scaled.to > 0) woke ??= now - pushed;
    const { completed } = counters;
    const wanted = scaled?.to ?? replicas.wanted;
    if (completed > (history.at(-1)?.completed ?? 0)) lastFinish = now;
    history.push({ at: now, waiting, inFlight, completed, wanted, ready: replicas.ready });
    if (pushed !== Infinity) show(now);
    if (completed >= tasks.length) complete ??= now;
    if (complete !== undefined && replicas.existing === 0) done.resolve();
    if (dead > 0) void explainDead();
    if (now - lastFinish > STALL_TIMEOUT_MS)
      broken.abort(new Error(replicas.trouble ?? 'no task was finished for a minute'));
  }

  function show(now: number): void {
    const last = history.at(-1);
    if (!last) return;
    progress.show({
      ...last,
      total: tasks.length,
      seconds: (now - pushed) / 1_000,
      rate: rateOf(history, RATE_MS) * 1_000,
    });
  }

  async function explainDead(): Promise<void> {
    const [letter] = await readDeadLetters(redis, keys, 1);
    broken.abort(new Error(`a task failed for good: ${letter?.error ?? 'unknown error'}`));
  }

  await using _loop = startPoolLoop({
    redis: options.address,
    queues: [keys],
    policy,
    target,
    pollMs: POLL_MS,
    onStep,
    log: pino({ level: 'silent' }),
    onError: (error) => progress.say(`${error.message}; retrying`),
  });
  const signal = AbortSignal.any([options.signal, broken.signal]);
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  stopped.catch(() => undefined);
  await Promise.race([still.promise, stopped]);
  await systemClock.sleep(STILL_MS, signal);
  lastFinish = pushed = performance.now();
  for (let i = 0; i < tasks.length; i += 1_000) await redis.lpush(keys.queue, ...tasks.slice(i, i + 1_000));
  await Promise.race([done.promise, stopped]);
  progress.end();
  return {
    history: history.map(({ at, ...rest }) => Object.assign(rest, { at: (at - pushed) / 1_000 })),
    wokeMs: woke ?? 0,
    completeS: ((complete ?? pushed) - pushed) / 1_000,
    goneS: (performance.now() - pushed) / 1_000,
  };
}
