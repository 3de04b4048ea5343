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
import { listDead } from '../../queue/dead.ts';
import { queueKeys } from '../../queue/keys.ts';
import { startRedis } from '../support/redis.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { readHistory, shorten } from './aof.ts';
import { check, type Evidence, type Violation } from './check.ts';
import { openClients } from './clients.ts';
import { createController } from './controller.ts';
import { readCustody } from './custody.ts';
import { createStriker } from './faults.ts';
import { createFleet } from './fleet.ts';
import { leftovers, pastOf } from './leftovers.ts';
import { readLedger } from './ledger.ts';
import type { Plan } from './plan.ts';
import { playRounds } from './rounds.ts';
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
/** How long a client may still wait after the last task was settled. */
export const CLIENT_PATIENCE_MS = 10_000;
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
  const clients = stack.use(openClients({ url: `redis://127.0.0.1:${clientProxy.port}`, keys, plain }));
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
  const scene = { server, redis, keys, fleet, controller, clientProxy, controllerProxy, plain };
  const broken = new AbortController();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(limitMs), broken.signal]);

  const began = performance.now();
  controller.start();
  const striker = createStriker(scene);
  const faults = await playRounds(plan.rounds, {
    redis,
    keys,
    clients,
    limit,
    progress,
    strike: (fault) => striker.strike(fault),
    prepare: () => striker.inPeace(() => shorten(redis, server.dir, kept)),
    workers: () => fleet.pods.length,
    onBroken: (error) => broken.abort(error),
  });
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

/** Why a run was judged before it was over. */
export function stopped(signal: AbortSignal, limitMs: number): string {
  return signal.aborted ? 'the run was interrupted' : `the run was not over after ${limitMs / 1_000} s`;
}
