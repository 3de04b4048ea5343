/**
 * A minute of work for a fleet: one pool in a hundred gets tasks all the time, which a stand-in for its workers takes out again as
 * plain workers do; besides, an idle queue that is chosen at random gets a task several times a second, and it is measured how
 * long the controller takes to raise its Deployment. Pools with tasks of other libraries have live workers, which hold none.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ControllerProcess } from '../../test/support/controller.ts';
import { cpuMsOf, memoryOf } from '../run/child.ts';
import { percentile, rounded, shuffled } from '../report/figures.ts';
import type { FleetPool, FleetWorld } from './world.ts';

const SECONDS = 60;
const ACTIVE_SHARE = 0.01;
/** Mean time between two tasks of an active pool, and until one is taken. */
const TASK_EVERY_MS = 5_000;
const TASK_TAKES_MS = 500;
/** Of each active pool of another library. */
const WORKERS = 5;
const WAKE_EVERY_MS = 200;
const WAKE_LIMIT_MS = 10_000;

interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface Work {
  readonly seconds: number;
  readonly cores: number;
  readonly peakMb: number;
  readonly tasks: number;
  readonly wakes: number;
  /** From the push until the API server received the request to scale, ms. */
  readonly decided: Spread;
  /** From the push until a watch reported the raised replicas, ms. */
  readonly raised: Spread;
  readonly requestsPerSecond: number;
  readonly requests: Readonly<Record<string, number>>;
}

/** Milliseconds since the epoch, with fractions. */
const now = (): number => performance.timeOrigin + performance.now();

export async function work(
  world: FleetWorld,
  controller: ControllerProcess,
  signal: AbortSignal,
): Promise<Work> {
  // of each kind as many
  const kinds = new Set(world.pools.map(({ kind }) => kind)).size;
  const each = Math.max(1, Math.round((world.pools.length * ACTIVE_SHARE) / kinds));
  const active = world.pools.slice(0, each * kinds);
  const idle = shuffled(world.pools.slice(active.length));
  await using workers = new AsyncDisposableStack();
  for (const { queue } of active) if (queue.attend) workers.use(await queue.attend(WORKERS));
  const ending = new AbortController();
  const over = AbortSignal.any([ending.signal, signal]);
  let tasks = 0;

  async function busy({ queue }: FleetPool): Promise<void> {
    while (!over.aborted) {
      await pause(Math.random() * 2 * TASK_EVERY_MS, over);
      if (over.aborted) return;
      tasks++;
      await queue.push();
      await pause(Math.random() * 2 * TASK_TAKES_MS, over);
      await queue.empty();
    }
  }

  const raisedAt = new Map<string, PromiseWithResolvers<number>>();
  world.onReplicas = (key, replicas) => {
    if (replicas > 0) raisedAt.get(key)?.resolve(now());
  };
  const woken: { key: string; pushed: number; raised: number }[] = [];
  async function wake({ namespace, name, queue }: FleetPool): Promise<void> {
    const key = `${namespace}/${name}`;
    const raised = Promise.withResolvers<number>();
    raisedAt.set(key, raised);
    const pushed = now();
    tasks++;
    await queue.push();
    const late = AbortSignal.timeout(WAKE_LIMIT_MS);
    const at = await Promise.race([raised.promise, pause(WAKE_LIMIT_MS, late).then(() => Infinity)]);
    woken.push({ key, pushed, raised: at });
    await queue.empty();
  }

  const busyOnes = active.map(busy);
  // until all active pools are up
  await pause(2 * TASK_EVERY_MS, over);
  const before = { requests: await world.requests(), cpu: cpuMsOf(controller.pid) ?? NaN, at: now() };
  const waking: Promise<void>[] = [];
  let peakMb = 0;
  for (let next = before.at; now() < before.at + SECONDS * 1_000 && !over.aborted; next += WAKE_EVERY_MS) {
    const pool = idle.pop();
    if (pool) waking.push(wake(pool));
    peakMb = Math.max(peakMb, memoryOf(controller.pid)?.residentMb ?? NaN);
    await pause(next + WAKE_EVERY_MS * (0.5 + Math.random()) - now(), over);
  }
  const seconds = (now() - before.at) / 1_000;
  const cpu = (cpuMsOf(controller.pid) ?? NaN) - before.cpu;
  const requests = world.difference(before.requests, await world.requests());
  await Promise.all(waking);
  ending.abort();
  await Promise.all(busyOnes);
  const asked = world.scaleRequests();
  const decided = woken.map(
    ({ key, pushed }) => (asked.find((one) => one.key === key && one.at >= pushed)?.at ?? Infinity) - pushed,
  );
  const total = Object.values(requests).reduce((sum, count) => sum + count, 0);
  return {
    seconds: rounded(seconds, 3),
    cores: rounded(cpu / 1_000 / seconds, 3),
    peakMb: Math.round(peakMb),
    tasks,
    wakes: woken.length,
    decided: spread(decided),
    raised: spread(woken.map(({ pushed, raised }) => raised - pushed)),
    requestsPerSecond: rounded(total / seconds, 3),
    requests,
  };
}

function spread(values: readonly number[]): Spread {
  const at = (share: number): number => rounded(percentile(values, share), 3);
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(Math.max(0, ms), undefined, { signal }).catch(() => undefined);
}
