/**
 * Measuring fairly on a machine that others use too: the contestants take turns (A B C A B C …), so that a slow minute hits
 * all of them, and what is compared are medians, and ratios of what was measured within the same round.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { cpuMsOf } from './child.ts';
import type { Contestant } from './contestants.ts';
import type { BenchRedis } from './redis.ts';

export interface Drain {
  readonly tasksPerSecond: number;
  /** CPU time per task, µs: independent of other load on the machine. */
  readonly redisUs: number;
  /** Of all processes of the contestant. */
  readonly clientUs: number;
  /** Share of the time in which the server's CPU was busy. */
  readonly redisBusy: number;
}

/** Interval at which the number of results is read, ms. */
const POLL_MS = 5;
const STUCK_TIMEOUT_MS = 30_000;
/** Less than this between two drains is no growth of a rate. */
const GROWTH = 1.05;
const MOST_WARM_UPS = 12;

/** Resolves when the contestant's process is ready; rejects when `signal` aborts. */
export async function waitReady(contestant: Contestant, signal: AbortSignal): Promise<void> {
  for (let waited = 0; !(await contestant.ready()); waited += POLL_MS) {
    await expectAlive(contestant);
    if (waited > STUCK_TIMEOUT_MS) throw new Error(`${contestant.name} does not start`);
    await delay(POLL_MS, undefined, { signal });
  }
}

/** Lets one contestant process `count` tasks and checks each result. */
export async function drainRound(
  server: Pick<BenchRedis, 'cpuMs'>,
  contestant: Contestant,
  count: number,
): Promise<Drain> {
  await contestant.fill(count);
  const redisBefore = await server.cpuMs();
  const clientBefore = clientCpuMs(contestant);
  const started = performance.now();
  await contestant.release();
  await untilDone(contestant, count);
  const tookMs = performance.now() - started;
  const clientMs = clientCpuMs(contestant) - clientBefore;
  const redisMs = (await server.cpuMs()) - redisBefore;
  await contestant.verify(count);
  await contestant.clear();
  return {
    tasksPerSecond: (1_000 * count) / tookMs,
    redisUs: (1_000 * redisMs) / count,
    clientUs: (1_000 * clientMs) / count,
    redisBusy: redisMs / tookMs,
  };
}

/**
 * Lets a contestant drain tasks until its rate has not grown twice in a row: compilers go on optimizing for seconds, and what is measured
 * is the rate after that. `sizeFor`: the number of tasks of a drain at this rate, a second. Returns the best rate.
 */
export async function warmUp(
  server: Pick<BenchRedis, 'cpuMs'>,
  contestant: Contestant,
  sizeFor: (rate: number | undefined) => number,
  signal: AbortSignal,
): Promise<number> {
  let best: number | undefined;
  let steady = 0;
  for (let drains = 0; drains < MOST_WARM_UPS && steady < 2; drains++) {
    signal.throwIfAborted();
    const { tasksPerSecond } = await drainRound(server, contestant, sizeFor(best));
    steady = tasksPerSecond > (best ?? 0) * GROWTH ? 0 : steady + 1;
    best = Math.max(best ?? 0, tasksPerSecond);
  }
  return best ?? 0;
}

async function expectAlive({ children }: Contestant): Promise<void> {
  for (const child of children) await child.expectAlive();
}

function clientCpuMs({ children }: Contestant): number {
  return children.reduce((sum, { pid }) => sum + (cpuMsOf(pid) ?? NaN), 0);
}

async function untilDone(contestant: Contestant, count: number): Promise<void> {
  let last = -1;
  let moved = performance.now();
  for (;;) {
    const done = await contestant.done();
    if (done >= count) return;
    const now = performance.now();
    if (done !== last) moved = now;
    last = done;
    if (now - moved > STUCK_TIMEOUT_MS)
      throw new Error(`${contestant.name} is stuck at ${done} of ${count} tasks`);
    await expectAlive(contestant);
    await delay(POLL_MS);
  }
}
