/**
 * `latency`: from the push of one task to an idle worker until its result can be read, as clients see it: one that waits as
 * `openQueue().result` does, one that asks for the result again and again without a pause, and the same two for BullMQ. A
 * worker that only pops and writes is the floor: what this machine and the Redis library take. All take turns in small blocks.
 * Before each push the worker has had time to become idle.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Queue as BullQueue, QueueEvents } from 'bullmq';
import type { Redis } from 'ioredis';
import { table } from '../cli/terminal/table.ts';
import { openQueue } from '../queue/queue.ts';
import { bullmq, drainer, millraceWorker } from './run/contestants.ts';
import {
  goalLines,
  goalRows,
  goalsOf,
  median,
  parts,
  percentile,
  ratios,
  rounded,
  type Figure,
  type Goal,
} from './report/figures.ts';
import { startBenchRedis, type BenchRedis } from './run/redis.ts';
import type { Bench } from './report/report.ts';
import { waitReady } from './run/rounds.ts';
import { expectResult, idOf, taskOf } from './run/tasks.ts';
import { prepareWorkerBundle } from './run/worker-bundle.ts';

const PUSHES = 2_000;
const BLOCK = 50;
const WARM_UP = 200;
/** Long enough for a worker to block on Redis again; not a multiple of any timer. */
const PAUSE_MS = 3.3;
const FLOOR = 'BRPOP, HSET: the floor';
const WAITING = 'Millrace, queue.result()';
const POLLING = 'Millrace, polling';
const BULLMQ_WAITING = 'BullMQ, job.waitUntilFinished()';
const BULLMQ_POLLING = 'BullMQ, polling';
/** Parts of the run, in which everybody had turns: what is compared are ratios within each. */
const PARTS = 5;
/** Concurrent reads of a client that polls. */
const READS_AHEAD = 4;

interface Client {
  readonly name: string;
  readonly latenciesMs: number[];
  /** Pushes task `i` and resolves to its result. */
  push(i: number): Promise<string | null>;
}

export const latency: Bench = async (options) => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startBenchRedis(options.progress));
  const ours = stack.use(await millraceWorker(server, await prepareWorkerBundle(stack), 1));
  const theirs = stack.use(bullmq(server, 1));
  await waitReady(ours, options.signal);
  await waitReady(theirs, options.signal);
  const floor = stack.use(drainer(server, FLOOR, 'client-blocking.ts'));
  await waitReady(floor, options.signal);
  const clients = [
    ...millraceClients(server, stack),
    ...(await bullmqClients(server, stack)),
    pollingClient(server, FLOOR, 'client-blocking'),
  ];
  const pushes = options.tasks ?? PUSHES;
  let next = 0;
  for (let block = 0; block * BLOCK < pushes + WARM_UP; block++) {
    for (const client of clients)
      for (let i = 0; i < BLOCK; i++) {
        options.signal.throwIfAborted();
        await delay(PAUSE_MS);
        const task = next++;
        const started = performance.now();
        const value = await client.push(task);
        const tookMs = performance.now() - started;
        expectResult(value, task, client.name);
        if (block * BLOCK >= WARM_UP) client.latenciesMs.push(tookMs);
      }
    if (block % 10 === 9)
      options.progress(`${(block + 1) * BLOCK} of ${pushes + WARM_UP} pushes by each client`);
  }
  return report(server, clients);
};

function millraceClients(server: BenchRedis, stack: AsyncDisposableStack): Client[] {
  const names = { queue: 'millrace-1', result: 'millrace-1:result' };
  const queue = stack.use(openQueue({ redis: server.url, ...names }));
  return [
    {
      name: WAITING,
      latenciesMs: [],
      push: async (i) => queue.result(await queue.enqueue({ id: idOf(i), n: i }), { timeoutMs: 10_000 }),
    },
    pollingClient(server, POLLING, names.queue),
  ];
}

/** Pushes to the list of a contestant and polls its hash. */
function pollingClient({ redis }: BenchRedis, name: string, queue: string): Client {
  return {
    name,
    latenciesMs: [],
    push: (i) => {
      void redis.lpush(queue, taskOf(i));
      return poll(redis, `${queue}:result`, idOf(i));
    },
  };
}

async function bullmqClients(server: BenchRedis, stack: AsyncDisposableStack): Promise<Client[]> {
  const connection = { url: server.url };
  const queue = new BullQueue('bullmq-1', { connection });
  const events = new QueueEvents('bullmq-1', { connection });
  stack.defer(() => queue.close());
  stack.defer(() => events.close());
  await events.waitUntilReady();
  return [
    {
      name: BULLMQ_WAITING,
      latenciesMs: [],
      push: async (i) => {
        const job = await queue.add('task', { id: idOf(i), n: i });
        return JSON.stringify(await job.waitUntilFinished(events, 10_000));
      },
    },
    {
      name: BULLMQ_POLLING,
      latenciesMs: [],
      push: async (i) => {
        const job = await queue.add('task', { id: idOf(i), n: i });
        return poll(server.redis, queue.toKey(job.id ?? ''), 'returnvalue');
      },
    },
  ];
}

/** Reads a field until it exists; several reads are always in flight. */
async function poll(redis: Redis, key: string, field: string): Promise<string | null> {
  const reads = Array.from({ length: READS_AHEAD }, () => redis.hget(key, field));
  for (let i = 0; ; i = (i + 1) % READS_AHEAD) {
    const value = (await reads[i]) ?? null;
    if (value !== null) {
      await Promise.all(reads);
      return value;
    }
    reads[i] = redis.hget(key, field);
  }
}

function report(server: BenchRedis, clients: readonly Client[]): Awaited<ReturnType<Bench>> {
  const figures = clients.map(({ name, latenciesMs }) => ({
    name,
    pushes: latenciesMs.length,
    p50Ms: rounded(median(latenciesMs), 3),
    p99Ms: rounded(percentile(latenciesMs, 0.99), 3),
    maxMs: rounded(Math.max(...latenciesMs), 3),
  }));
  const compared = figuresOf(clients);
  const absolute = figures.slice(0, 2).map(({ name, p99Ms }): Goal => ({
    name: `${name}: p99`,
    measured: p99Ms,
    goal: 2,
    is: 'at most',
    unit: ' ms',
  }));
  const goals = [...goalsOf(compared), ...absolute];
  const rows = figures.map(({ name, pushes, p50Ms, p99Ms, maxMs }) => [name, pushes, p50Ms, p99Ms, maxMs]);
  return {
    text: `${table(['', 'PUSHES', 'P50 MS', 'P99 MS', 'MAX MS'], rows)}\n${goalLines(goals)}`,
    data: { redis: server.version, clients: figures, goals: goalRows(goals) },
    figures: compared,
  };
}

function figuresOf(clients: readonly Client[]): Figure[] {
  const of = (wanted: string, share: number): number[] => {
    const latenciesMs = clients.find(({ name }) => name === wanted)?.latenciesMs ?? [];
    return parts(latenciesMs, PARTS).map((some) => percentile(some, share));
  };
  const ratio = (name: string, above: string, below: string, share: number, goal?: number): Figure => ({
    name,
    unit: '×',
    is: 'at most',
    values: ratios(of(above, share), of(below, share)),
    ...(goal !== undefined && { goal }),
  });
  return [
    ratio('polling, to the floor: p50', POLLING, FLOOR, 0.5, 1.4),
    ratio('polling, to the floor: p99', POLLING, FLOOR, 0.99, 1.4),
    ratio("polling, to BullMQ's: p50", POLLING, BULLMQ_POLLING, 0.5, 0.6),
    ratio('queue.result(), to the floor: p50', WAITING, FLOOR, 0.5),
    ratio('queue.result(), to the floor: p99', WAITING, FLOOR, 0.99),
    ratio("queue.result(), to BullMQ's waitUntilFinished(): p50", WAITING, BULLMQ_WAITING, 0.5),
  ];
}
