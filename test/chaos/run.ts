/**
 * One chaos run: a real Redis that keeps everything (`appendonly`, `appendfsync always`: with `everysec` a killed Redis may
 * forget its last second, and then nobody could promise that nothing is lost), real worker processes, a real controller
 * process, clients of both kinds; then the plan's rounds, and the judgement over what they left.
 *
 * It ends by itself: after `limitMs` it judges what there is. All that it started is gone afterwards.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { within } from '../../queue/connection.ts';
import { listDead } from '../../queue/dead.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { startRedis } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { readHistory, shorten } from './aof.ts';
import { check, type DoneFault, type Evidence, type Violation } from './check.ts';
import { openClients, type Clients } from './clients.ts';
import { createController } from './controller.ts';
import { readCustody } from './custody.ts';
import { createStriker, type Scene, type Striker } from './faults.ts';
import { createFleet } from './fleet.ts';
import { leftovers, pastOf } from './leftovers.ts';
import { readLedger } from './ledger.ts';
import type { Plan, Round } from './plan.ts';
import { ATTEMPTS } from './tasks.ts';

export interface RunOptions {
  readonly plan: Plan;
  /** The most workers that the controller may ask for. */
  readonly workers: number;
  /** Judged when it is over, whatever is left then, ms. */
  readonly limitMs: number;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

export interface Outcome {
  readonly violations: readonly Violation[];
  readonly evidence: Evidence;
  /** Of the part in which tasks were worked off, ms. */
  readonly tookMs: number;
  readonly scaled: { readonly up: number; readonly down: number };
  /** The last lines of the workers' logs. */
  readonly log: readonly string[];
}

const CONCURRENCY = 4;
const GRACE_MS = 20_000;
const LOOK_MS = 50;
const SAY_MS = 2_000;
/** How long a client may still wait after the last task was settled. */
const CLIENT_PATIENCE_MS = 10_000;
const REDIS_ARGS = ['--appendonly', 'yes', '--appendfsync', 'always', '--auto-aof-rewrite-percentage', '0'];

/** Rejects when something of the run itself fails; what it finds about Millrace is in the outcome. */
export async function runChaos({ plan, workers, limitMs, signal, progress }: RunOptions): Promise<Outcome> {
  await using stack = new AsyncDisposableStack();
  const ledger = await mkdtemp(join(tmpdir(), 'millrace-chaos-'));
  stack.defer(() => rm(ledger, { recursive: true, force: true }));
  const kept = await mkdtemp(join(tmpdir(), 'millrace-chaos-'));
  stack.defer(() => rm(kept, { recursive: true, force: true }));
  const server = stack.use(await startRedis({ args: REDIS_ARGS }));
  const keys = queueKeys('chaos', 'chaos:result');
  const redis = server.client();
  const clientProxy = stack.use(await startTcpProxy(server.port));
  const controllerProxy = stack.use(await startTcpProxy(server.port));
  const plain: string[] = [];
  const clients = stack.use(openClients({ port: clientProxy.port, keys, plain }));
  const controller = stack.use(
    createController({ port: controllerProxy.port, keys, maxReplicas: workers, fleet: () => fleet }),
  );
  const retry = { attempts: ATTEMPTS, backoff: { initialMs: 50, maxMs: 1_000, jitter: true } };
  const fleet = stack.use(
    createFleet({
      redisPort: server.port,
      leaseMs: plan.leaseMs,
      ledger,
      settings: {
        queue: keys.queue,
        result: keys.result,
        concurrency: CONCURRENCY,
        graceMs: GRACE_MS,
        retry,
      },
      onGone: (worker) => controller.gone(worker),
    }),
  );
  const scene = { server, redis, keys, fleet, controller, clientProxy, controllerProxy, plain, kept };
  const broken = new AbortController();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(limitMs), broken.signal]);

  const began = performance.now();
  controller.start();
  const faults = await playRounds(plan, scene, clients, limit, progress, (error) => broken.abort(error));
  const tookMs = performance.now() - began;
  const complaints = await clients.complaints(limit.aborted ? 0 : CLIENT_PATIENCE_MS);
  progress(`all tasks settled: ${limit.aborted ? 'no' : 'yes'}; waiting for graves to be swept`);
  await fleet.stop();
  const past = pastOf(plan.tasks, plain);
  const left = await leftovers(redis, keys, past, limit.aborted ? 0 : undefined);
  await controller.kill();
  const [results, dead] = await Promise.all([redis.hgetall(keys.result), listDead(redis, keys, 1_000_000)]);
  await server.terminate();
  progress('reading the ledger and the history');
  const evidence: Evidence = {
    tasks: plan.tasks,
    custody: readCustody(await readHistory(server.dir, kept), keys),
    runs: await readLedger(ledger),
    lives: fleet.lives,
    faults,
    results: new Map(Object.entries(results)),
    dead: dead.map(({ id, raw, attempts }) => ({ id: id ?? raw.toString(), attempts })),
    plain,
    leftovers: left,
    complaints: limit.aborted ? [...complaints, stopped(signal, limitMs)] : complaints,
  };
  return { violations: check(evidence), evidence, tookMs, scaled: controller.scaled, log: fleet.lines };
}

function stopped(signal: AbortSignal, limitMs: number): string {
  return signal.aborted ? 'the run was interrupted' : `the run was not over after ${limitMs / 1_000} s`;
}

async function playRounds(
  plan: Plan,
  scene: Scene,
  clients: Clients,
  limit: AbortSignal,
  progress: (line: string) => void,
  onBroken: (error: unknown) => void,
): Promise<DoneFault[]> {
  const striker = createStriker(scene);
  const striking: Promise<DoneFault>[] = [];
  const board = createBoard(scene);
  const over = new Promise((resolve) => limit.addEventListener('abort', resolve, { once: true }));
  const say = setInterval(() => progress(board.text(striking.length)), SAY_MS);
  try {
    for (const round of plan.rounds) {
      if (limit.aborted) break;
      await striker.inPeace(() => shorten(scene.redis, scene.server.dir, scene.kept));
      board.pushing(round);
      await Promise.race([clients.push(round), over]);
      striking.push(...(await strikeAll(round, striker, limit, onBroken)));
      await board.until(round.leave, limit);
      await delay(round.restMs);
    }
    const faults = await Promise.all(striking);
    await board.until(0, limit);
    return faults;
  } finally {
    clearInterval(say);
  }
}

/** Begins all faults of a round, each at its time; they may last longer. */
async function strikeAll(
  round: Round,
  striker: Striker,
  limit: AbortSignal,
  onBroken: (error: unknown) => void,
): Promise<Promise<DoneFault>[]> {
  const begun: Promise<DoneFault>[] = [];
  let at = 0;
  for (const { afterMs, fault } of round.faults) {
    await delay(afterMs - at);
    at = afterMs;
    if (limit.aborted) break;
    const done = striker.strike(fault);
    // a fault that cannot be made ends the run; whoever awaits it is told
    done.catch(onBroken);
    begun.push(done);
  }
  return begun;
}

interface Board {
  pushing(round: Round): void;
  /** Resolves when no more than `leave` tasks are unsettled, or at the limit. */
  until(leave: number, limit: AbortSignal): Promise<void>;
  text(faults: number): string;
}

/** How far the run is, by what Redis holds. */
function createBoard({ redis, keys, fleet }: Pick<Scene, 'redis' | 'keys' | 'fleet'>): Board {
  const began = performance.now();
  let pushed = 0;
  let open = 0;
  return {
    pushing: ({ tasks }) => {
      for (const { copies } of tasks) pushed += copies;
    },
    until: async (leave, limit) => {
      while (!limit.aborted) {
        open = (await countOpen(redis, keys).catch(() => undefined)) ?? Infinity;
        if (open <= leave) return;
        await delay(LOOK_MS);
      }
    },
    text: (faults) =>
      `${Math.round((performance.now() - began) / 1_000)} s: ${pushed} tasks pushed, ${open === Infinity ? 'Redis is away' : `${open} open`}, ` +
      `${fleet.pods.length} workers, ${faults} faults`,
  };
}

/** Tasks that are not settled; `undefined` when Redis did not say. */
async function countOpen(redis: Redis, keys: QueueKeys): Promise<number | undefined> {
  const asked = redis.multi().llen(keys.queue).zcard(keys.delayed).hvals(keys.load).exec();
  const replies = await within(2_000, asked, 'the count');
  if (!replies || replies.some(([error]) => error)) return undefined;
  const [[, waiting], [, delayed], [, load]] = replies as [[null, number], [null, number], [null, string[]]];
  const woken = await countWoken(redis, keys);
  return waiting + delayed + woken + load.reduce((sum, held) => sum + Number(held), 0);
}

/** Tasks between a blocking move and the next turn. */
async function countWoken(redis: Redis, keys: QueueKeys): Promise<number> {
  const workers = await within(2_000, redis.zrange(keys.workers, '0', '-1'), 'the workers');
  const lists = await Promise.all(
    workers.map((worker) => within(2_000, redis.llen(keys.wake(worker)), 'a wake list')),
  );
  return lists.reduce((sum, length) => sum + length, 0);
}
