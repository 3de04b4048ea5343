/**
 * One chaos run: a real Redis that keeps everything unless a fault makes it forget (`appendonly`, `appendfsync always`; what it
 * forgot is known, see primary.ts), real worker processes that serve two queues, or one in partitions, a real controller process, clients of both
 * kinds; then the plan's rounds, and the judgement over what they left.
 *
 * It ends by itself: after `limitMs` it judges what there is. All that it started is gone afterwards.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readDeadLetters } from '../../queue/dead-letter-format.ts';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { queueKeys } from '../../queue/keys.ts';
import { partitionKeys } from '../../queue/partitions.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { readBatches } from './batch-records.ts';
import { check, type Evidence } from './check.ts';
import { openClients } from './clients.ts';
import { createController, type Controller } from './controller.ts';
import { readAllCustody } from './custody.ts';
import { createStriker } from './faults.ts';
import { createFleet } from './fleet.ts';
import { leftovers, pastOf } from './leftovers.ts';
import { readLedger } from './ledger.ts';
import type { Plan } from './plan.ts';
import { startPrimary } from './primary.ts';
import { playRounds } from './rounds.ts';
import { ATTEMPTS } from './tasks.ts';
import type { Violation } from './violation.ts';

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

const NAMES = { queue: 'chaos', result: 'chaos:result' };
/** The queue that is served last. */
const LOWER = 'chaos:low';

/** What the workers of a run are told. */
export const CONCURRENCY = 4;
export const GRACE_MS = 20_000;
export const RETRY = { attempts: ATTEMPTS, backoff: { initialMs: 50, maxMs: 1_000, jitter: true } };
/** All are kept, to be counted: by default, 10,000 are. */
export const DEAD_LETTERS = { max: 1_000_000, maxAgeMs: 86_400_000 };
/** How long a client may still wait after the last task was settled. */
export const CLIENT_PATIENCE_MS = 10_000;
/** How long the last round waits for a scale-in, in a run that had none. */
const SCALE_IN_MS = 60_000;

/** Rejects when something of the run itself fails; what it finds about Millrace is in the outcome. */
export async function runChaos({ plan, workers, limitMs, signal, progress }: RunOptions): Promise<Outcome> {
  await using stack = new AsyncDisposableStack();
  const ledger = await mkdtemp(join(tmpdir(), 'millrace-chaos-'));
  stack.defer(() => rm(ledger, { recursive: true, force: true }));
  const kept = await mkdtemp(join(tmpdir(), 'millrace-chaos-'));
  stack.defer(() => rm(kept, { recursive: true, force: true }));
  const primary = stack.use(await startPrimary(kept));
  const whole = plan.partitions === undefined ? undefined : { ...NAMES, partitions: plan.partitions };
  const queues = whole
    ? partitionKeys(whole.queue, whole.result, whole.partitions)
    : [NAMES.queue, LOWER].map((name) => queueKeys(name, NAMES.result));
  const redis = defineScripts(openRedis({ url: primary.url }, { onError: () => undefined }));
  stack.defer(() => closeRedis(redis));
  const redisOf = (): typeof redis => redis;
  const clientProxy = stack.use(await startTcpProxy(primary.port));
  const controllerProxy = stack.use(await startTcpProxy(primary.port));
  const plain: string[] = [];
  const plainTasks: string[] = [];
  const address = { url: `redis://127.0.0.1:${clientProxy.port}` };
  const clients = stack.use(openClients({ address, queues, whole, plain, ledger }));
  const controller = stack.use(
    createController({
      address: { url: `redis://127.0.0.1:${controllerProxy.port}` },
      queues,
      maxReplicas: workers,
      fleet: () => fleet,
    }),
  );
  const fleet = stack.use(
    createFleet({
      reach: async () => {
        const proxy = await startTcpProxy(primary.port);
        return { address: { url: `redis://127.0.0.1:${proxy.port}` }, proxy };
      },
      leaseMs: plan.leaseMs,
      ledger,
      settings: {
        ...NAMES,
        ...(whole ? { partitions: [whole.partitions] } : { queues: queues.map(({ queue }) => queue) }),
        concurrency: CONCURRENCY,
        graceMs: GRACE_MS,
        retry: RETRY,
        deadLetters: DEAD_LETTERS,
      },
      onGone: (worker) => controller.gone(worker),
    }),
  );
  const scene = {
    primary,
    redis,
    queues,
    fleet,
    controller,
    clientProxy,
    controllerProxy,
    plain,
    plainTasks,
  };
  const broken = new AbortController();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(limitMs), broken.signal]);

  const began = performance.now();
  controller.start();
  const striker = createStriker(scene);
  const faults = await playRounds(plan.rounds, {
    redisOf,
    queues,
    clients,
    limit,
    progress,
    strike: (fault) => striker.strike(fault),
    prepare: async (round) => {
      await striker.inPeace(() => primary.shorten());
      if (round === plan.rounds.at(-1)) await scaledIn(controller, limit);
    },
    workers: () => fleet.pods.length,
    onBroken: (error) => broken.abort(error),
  });
  const tookMs = performance.now() - began;
  const forgotten = readAllCustody(primary.forgotten, queues);
  const unpushed = new Set([...forgotten.fates].filter(([, { pushed }]) => pushed > 0).map(([id]) => id));
  const complaints = await clients.complaints(limit.aborted ? 0 : CLIENT_PATIENCE_MS, unpushed);
  progress(`all tasks settled: ${limit.aborted ? 'no' : 'yes'}; waiting for graves to be swept`);
  await fleet.stop();
  const past = pastOf(plainTasks);
  const left = await leftovers(redisOf, queues, past, limit.aborted ? 0 : undefined);
  await controller.kill();
  const batches = await readBatches(redisOf, queues, clients.batches.tries, whole !== undefined);
  const hashes = [...new Set(queues.map(({ result }) => result))];
  const results = (await Promise.all(hashes.map((hash) => redis.hgetall(hash)))).flatMap(Object.entries);
  const dead = (await Promise.all(queues.map((queue) => readDeadLetters(redis, queue, 1_000_000)))).flat();
  await primary.server.terminate();
  progress('reading the ledger and the history');
  const evidence: Evidence = {
    tasks: plan.tasks,
    custody: readAllCustody(await primary.history(), queues),
    forgotten,
    runs: await readLedger(ledger),
    lives: fleet.lives,
    faults,
    batches,
    results: new Map(results as [string, string][]),
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

/** Resolves when the pool was scaled in at least once, so that a last round begins after that, or when it has had time enough. */
async function scaledIn({ scaled }: Controller, limit: AbortSignal): Promise<void> {
  const enough = AbortSignal.any([limit, AbortSignal.timeout(SCALE_IN_MS)]);
  while (scaled.down === 0 && !enough.aborted) await delay(50);
}
