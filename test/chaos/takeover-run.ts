/**
 * One chaos run with Sentinel or on a Redis Cluster (`npm run chaos -- --sentinel`, `--cluster`): real servers that take over from each
 * other, real workers and a real controller that find them, clients of both kinds, and `durability: { replicas: 1 }` everywhere.
 * The rounds and the faults of workers are those of `run.ts`; see takeover-check.ts for what is judged.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { closeRedis, openRedis, type RedisAddress } from '../../queue/connection/connection.ts';
import { readDeadLetters } from '../../queue/dead-letter-format.ts';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { locationOf } from '../../queue/location.ts';
import { defineScripts } from '../../queue/scripts/scripts.ts';
import { patient } from '../support/eventually.ts';
import { readBatches } from './batch-records.ts';
import type { DoneFault } from './check.ts';
import { openClients } from './clients.ts';
import { createController, type Controller } from './controller.ts';
import { strikeWorkers } from './fleet-faults.ts';
import { createFleet, type Fleet } from './fleet.ts';
import { leftovers } from './leftovers.ts';
import { readLedger } from './ledger.ts';
import { playRounds } from './rounds.ts';
import { CLIENT_PATIENCE_MS, DEAD_LETTERS, GRACE_MS, RETRY, stopped, type RunOptions } from './run.ts';
import { startServers, type Servers } from './servers.ts';
import { checkTakeovers, type TakeoverEvidence } from './takeover-check.ts';
import type { ServerFault, TakeoverPlan } from './takeover-plan.ts';
import type { Task } from './tasks.ts';
import type { Violation } from './violation.ts';

export interface TakeoverOutcome {
  readonly violations: readonly Violation[];
  readonly evidence: TakeoverEvidence;
  readonly tookMs: number;
  readonly scaled: { readonly up: number; readonly down: number };
  /** Pushes that were not confirmed, and made again. */
  readonly pushedAgain: number;
  readonly log: readonly string[];
}

export interface TakeoverRunOptions extends Omit<RunOptions, 'plan'> {
  readonly plan: TakeoverPlan;
  /** The run goes on until this many replicas have taken over, even if all tasks are done. */
  readonly leastTakeovers?: number;
  /** No wave is pushed after this long, and what was pushed until then is judged; ms. */
  readonly forMs?: number;
}

/** The first takeover comes when work has begun, ms. */
const FIRST_MS = 1_000;
/** Between two takeovers at least, so that something can be confirmed, ms. */
const CALM_MS = 1_000;

/** Workers whose goodbye no replica has confirmed may be there again: their leases end, and their graves are swept, ms. */
const SWEPT_MS = 60_000;

/** What a replica confirms when it is well, and a client that is not confirmed does not wait long, ms. */
const DURABILITY = { replicas: 1, timeoutMs: 1_000 };

/** Rejects when something of the run itself fails; what it finds about Millrace is in the outcome. */
export async function runTakeovers(options: TakeoverRunOptions): Promise<TakeoverOutcome> {
  const { plan, workers, limitMs, signal, progress, leastTakeovers = 0, forMs } = options;
  await using stack = new AsyncDisposableStack();
  const ledger = await mkdtemp(join(tmpdir(), 'millrace-chaos-'));
  stack.defer(() => rm(ledger, { recursive: true, force: true }));
  const servers = stack.use(await startServers(plan.kind));
  const { address } = servers;
  const queues = ['chaos', 'chaos:low'].map((name) => queueKeys(name, 'chaos:result'));
  const [first] = queues as [QueueKeys];
  const open = (where: RedisAddress): Redis => {
    const redis = defineScripts(openRedis(where, { onError: () => undefined }));
    stack.defer(() => closeRedis(redis));
    return redis;
  };
  const connections = new Map(queues.map((keys) => [keys.queue, open(locationOf(address, keys).address)]));
  const redisOf = ({ queue }: QueueKeys): Redis => connections.get(queue) as Redis;
  const { results: apart } = locationOf(address, first);
  const resultRedis = open(apart?.address ?? address);
  const clients = stack.use(openClients({ address, durability: DURABILITY, queues, plain: [], ledger }));
  const controller = stack.use(
    createController({ address, queues, maxReplicas: workers, fleet: () => fleet }),
  );
  const fleet = stack.use(
    createFleet({
      reach: () => Promise.resolve({ address }),
      leaseMs: plan.leaseMs,
      ledger,
      env: {
        MILLRACE_DURABILITY_REPLICAS: String(DURABILITY.replicas),
        MILLRACE_DURABILITY_TIMEOUT: `${DURABILITY.timeoutMs}ms`,
      },
      settings: {
        queue: first.queue,
        queues: queues.map(({ queue }) => queue),
        result: first.result,
        concurrency: plan.concurrency,
        graceMs: GRACE_MS,
        retry: RETRY,
        deadLetters: DEAD_LETTERS,
      },
      onGone: (worker) => controller.gone(worker),
    }),
  );
  const broken = new AbortController();
  const onBroken = (error: unknown): void => broken.abort(error);
  const limit = AbortSignal.any([signal, AbortSignal.timeout(limitMs), broken.signal]);

  const began = performance.now();
  controller.start();
  const pushed: Task[] = [];
  const takeovers = startTakeovers(servers, plan, limit, onBroken);
  const struck = await playRounds(plan.rounds, {
    redisOf,
    queues,
    clients,
    limit,
    progress: (line) => progress(`${line}, ${takeovers.done.length} takeovers`),
    strike: (fault) => strike({ servers, fleet, controller }, fault),
    strikeMeanwhile: true,
    prepare: ({ tasks }) => Promise.resolve(void pushed.push(...tasks)),
    ...(forMs !== undefined && { enough: AbortSignal.timeout(forMs) }),
    workers: () => fleet.pods.length,
    // the last one may bring back a primary of before, with tasks whose results no replica has confirmed
    lastly: () => takeovers.stop(leastTakeovers),
    onBroken,
  });
  broken.signal.throwIfAborted();
  const tookMs = performance.now() - began;
  const complaints = await clients.complaints(limit.aborted ? 0 : patient(CLIENT_PATIENCE_MS));
  progress(`all tasks settled: ${limit.aborted ? 'no' : 'yes'}; waiting for graves to be swept`);
  await fleet.stop();
  const left = await leftovers(redisOf, queues, new Set(), limit.aborted ? 0 : SWEPT_MS);
  await controller.kill();
  const letters = await Promise.all(queues.map((keys) => readDeadLetters(redisOf(keys), keys, 1_000_000)));
  const evidence: TakeoverEvidence = {
    tasks: pushed,
    runs: await readLedger(ledger),
    lives: fleet.lives,
    faults: [...struck, ...takeovers.done],
    batches: await readBatches(redisOf, queues, clients.batches.tries),
    results: new Map(Object.entries(await resultRedis.hgetall(first.result))),
    dead: letters.flat().map(({ id, raw }) => id ?? raw.toString()),
    leftovers: left,
    complaints: limit.aborted ? [...complaints, stopped(signal, limitMs)] : complaints,
  };
  const { scaled } = controller;
  const { pushedAgain } = clients;
  return { violations: checkTakeovers(evidence), evidence, tookMs, scaled, pushedAgain, log: fleet.lines };
}

interface Takeovers {
  readonly done: readonly DoneFault[];
  /** Resolves when at least so many were made and none is under way. */
  stop(least: number): Promise<void>;
}

/** One after the other, until it is stopped. */
function startTakeovers(
  servers: Servers,
  { takeovers, everyMs }: TakeoverPlan,
  limit: AbortSignal,
  onBroken: (error: unknown) => void,
): Takeovers {
  const done: DoneFault[] = [];
  const stopping = new AbortController();
  let least = Infinity;
  const over = (): boolean => limit.aborted || (stopping.signal.aborted && done.length >= least);
  const pause = (ms: number): Promise<void> =>
    delay(ms, undefined, { signal: AbortSignal.any([limit, stopping.signal]) }).catch(() => undefined);
  const ended = (async () => {
    let next = performance.now() + FIRST_MS;
    while (!over()) {
      await pause(next - performance.now());
      if (over()) break;
      next = performance.now() + everyMs;
      const takeover = takeovers();
      const { how, ...details } = takeover;
      const from = Date.now();
      await servers.takeOver(takeover);
      next = Math.max(next, performance.now() + CALM_MS);
      const what = `takeover, ${how} ${JSON.stringify(details)}`;
      done.push({ kind: `takeover, ${how}`, what, from, to: Date.now(), workers: 'all' });
    }
  })();
  ended.catch(onBroken);
  return {
    done,
    stop: async (atLeast) => {
      least = atLeast;
      stopping.abort();
      await ended.catch(() => undefined);
    },
  };
}

interface Scene {
  readonly servers: Servers;
  readonly fleet: Fleet;
  readonly controller: Controller;
}

async function strike({ servers, fleet, controller }: Scene, fault: ServerFault): Promise<DoneFault> {
  const from = Date.now();
  const { kind, ...details } = fault;
  let workers: DoneFault['workers'] = [];
  switch (fault.kind) {
    case 'kill':
    case 'pause':
    case 'evict':
      workers = await strikeWorkers(fleet, fault);
      break;
    case 'cut':
    case 'script-flush': {
      const server = servers.all[Math.floor(fault.which * servers.all.length)] as Servers['all'][number];
      const command = fault.kind === 'cut' ? ['CLIENT', 'KILL', 'TYPE', 'normal'] : ['SCRIPT', 'FLUSH'];
      // whether or not it is there
      void server.admin.call(command[0] as string, ...command.slice(1)).catch(() => undefined);
      workers = 'all';
      break;
    }
    case 'controller-kill':
      await controller.kill();
      await delay(fault.downMs);
      if (!controller.alive) controller.start();
  }
  return { kind, what: `${kind} ${JSON.stringify(details)}`, from, to: Date.now(), workers };
}
