/**
 * `partitions`: what a task costs Redis and the worker if its queue is in four partitions on four primaries, against one list on a
 * single server, and how evenly the commands are spread; the time from a push to its result with sixteen partitions, against one;
 * and what a worker that waits on sixteen partitions sends.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { table } from '../cli/terminal/table.ts';
import { workerProgram } from '../cli/dev/worker-program.ts';
import type { RedisAddress } from '../queue/connection/connection.ts';
import { partitionKeys, partitionOf } from '../queue/partitions.ts';
import { openQueue } from '../queue/queue.ts';
import { startCluster } from '../test/support/cluster.ts';
import { monitor } from '../test/support/monitor.ts';
import { startRedis, type RedisServer } from '../test/support/redis.ts';
import { startChild, type Child } from './run/child.ts';
import { cpuOf } from './cluster.ts';
import type { Contestant } from './run/contestants.ts';
import {
  goalLines,
  goalRows,
  goalsOf,
  median,
  parts,
  ratios,
  rounded,
  shuffled,
  thousands,
  type Figure,
} from './report/figures.ts';
import type { Bench, BenchOptions } from './report/report.ts';
import { drainRound, waitReady, type Drain } from './run/rounds.ts';
import { expectResult, idOf, inBatches, taskOf } from './run/tasks.ts';

const CONCURRENCY = 100;
const ROUNDS = 9;
const WARM_UP_TASKS = 20_000;
const MOST_TASKS = 400_000;
/** Fewer would measure how a few batches are cut. */
const LEAST_TASKS = 100_000;
const PRIMARIES = 4;
const MANY = 16;
const PUSHES = 800;
/** A worker rests where nothing has happened for 15 s, after a move that was blocked for 5 s at most. */
const SETTLE_MS = 30_000;
/** Several renewals of its leases, one every 12 s. */
const IDLE_MS = 60_000;
const READY_TIMEOUT_MS = 30_000;
/** Parts of the pushes, whose ratios are compared. */
const PUSH_PARTS = 6;

const SINGLE = 'one list on a single server';
const SPREAD = `${PRIMARIES} partitions on ${PRIMARIES} primaries`;

interface Entrant {
  readonly contestant: Contestant;
  /** CPU time of all its servers, ms. */
  readonly cpuMs: () => Promise<number>;
  /** Commands of each of its servers since it started. */
  readonly commands: () => Promise<readonly number[]>;
}

/** How long servers without work are watched, ms. */
const REST_MS = 2_000;

interface Measured extends Drain {
  /** The largest share of the commands that one server had. */
  readonly share: number;
}

export const partitions: Bench = async (options) => {
  await using stack = new AsyncDisposableStack();
  const single = stack.use(await startRedis());
  const cluster = stack.use(await startCluster({ primaries: PRIMARIES }));
  const entrants = [
    entrant(SINGLE, single.address, 1, async () => single),
    entrant(SPREAD, cluster.address, PRIMARIES, (key) => cluster.ownerOf(key)),
  ];
  const opened = await Promise.all(entrants);
  for (const { contestant } of opened) stack.use(contestant);
  const rounds = await measure(opened, options);
  const latencies = await pushToResult(single, options);
  const idle = await idleCommands(options);
  const figures = figuresOf(rounds, latencies, idle);
  const goals = goalsOf(figures);
  return {
    text: `${rows(rounds)}\n${goalLines(goals)}`,
    data: {
      contestants: Object.fromEntries(rounds),
      latencyMs: Object.fromEntries(latencies),
      idle,
      goals: goalRows(goals),
    },
    figures,
  };
};

function startWorkerChild(redis: RedisAddress, queue: string, count: number): Child {
  const module = `${import.meta.dirname}/workers/handler.ts`;
  const retry = { attempts: 5, backoff: { initialMs: 1_000, maxMs: 60_000, jitter: true } };
  const own = { redis, queue, result: `${queue}-results`, partitions: [count], module, retry };
  return startChild(workerProgram({ ...own, concurrency: CONCURRENCY, graceMs: 5_000 }, queue, process.env));
}

async function entrant(
  name: string,
  redis: RedisAddress,
  count: number,
  ownerOf: (key: string) => Promise<RedisServer>,
): Promise<Entrant> {
  const queue = `drained-${count}`;
  const lists = partitionKeys(queue, `${queue}-results`, count);
  const servers = await Promise.all(lists.map((keys) => ownerOf(keys.queue)));
  const clients = servers.map((server) => server.client());
  const each = <T>(of: (client: Redis, i: number) => Promise<T>): Promise<T[]> =>
    Promise.all(clients.map(of));
  const asideOf = (i: number): string => (count === 1 ? `${queue}:aside` : `${queue}:{${i}}:aside`);
  const resultOf = (i: number): string => lists[i]?.result ?? '';
  /** Calls `use` with the tasks of each partition. */
  const spread = (
    most: number,
    use: (client: Redis, i: number, tasks: number[]) => Promise<unknown>,
  ): Promise<void> =>
    inBatches(most, async (from, to) => {
      const tasks = Map.groupBy(
        Array.from({ length: to - from }, (_, n) => from + n),
        (n) => partitionOf(idOf(n), count),
      );
      await Promise.all(Array.from(tasks, ([i, some]) => use(clients[i] as Redis, i, some)));
    });
  const child = startWorkerChild(redis, queue, count);
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
  return {
    cpuMs: async () => sum(await each(async (client) => cpuOf(await client.info('cpu')))),
    commands: () => each(async (client) => commandsOf(await client.info('stats'))),
    contestant: {
      name,
      children: [child],
      ready: async () =>
        (await each((client, i) => client.zcard(lists[i]?.workers ?? ''))).every((workers) => workers === 1),
      fill: (most) => spread(most, (client, i, tasks) => client.lpush(asideOf(i), ...tasks.map(taskOf))),
      release: async () => void (await each((client, i) => client.rename(asideOf(i), lists[i]?.queue ?? ''))),
      done: async () => sum(await each((client, i) => client.hlen(resultOf(i)))),
      verify: (most) =>
        spread(most, async (client, i, tasks) => {
          const values = await client.hmget(resultOf(i), ...tasks.map(idOf));
          for (const [n, value] of values.entries()) expectResult(value, tasks[n] ?? -1, name);
        }),
      clear: async () => void (await each((client, i) => client.del(resultOf(i)))),
      [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
    },
  };
}

function commandsOf(info: string): number {
  return Number(/^total_commands_processed:(\d+)/m.exec(info)?.[1]);
}

type Rounds = Map<string, Measured[]>;

async function measure(
  entrants: readonly Entrant[],
  { tasks = MOST_TASKS, rounds: count = ROUNDS, seconds, signal, progress }: BenchOptions,
): Promise<Rounds> {
  const rounds: Rounds = new Map(entrants.map(({ contestant }) => [contestant.name, []]));
  let size = tasks;
  const atRest = new Map<Entrant, number>();
  for (const one of entrants) {
    const { contestant, cpuMs } = one;
    await waitReady(contestant, signal);
    signal.throwIfAborted();
    const { tasksPerSecond } = await drainRound({ cpuMs }, contestant, Math.min(tasks, WARM_UP_TASKS));
    size = Math.min(size, Math.max(LEAST_TASKS, Math.round(tasksPerSecond * seconds)));
    // the nodes of a cluster talk to each other, whatever its clients do
    const before = await cpuMs();
    await delay(REST_MS, undefined, { signal });
    atRest.set(one, ((await cpuMs()) - before) / REST_MS);
  }
  for (let round = 1; round <= count; round++) {
    for (const one of shuffled(entrants)) {
      const { contestant, cpuMs, commands } = one;
      signal.throwIfAborted();
      const before = await commands();
      const drain = await drainRound({ cpuMs }, contestant, size);
      const rest = (1_000 * (atRest.get(one) ?? 0) * 1_000) / drain.tasksPerSecond;
      const redisUs = drain.redisUs - rest;
      const made = (await commands()).map((after, i) => after - (before[i] ?? 0));
      const share = Math.max(...made) / made.reduce((sum, commandCount) => sum + commandCount, 0);
      rounds.get(contestant.name)?.push({ ...drain, redisUs, share });
      progress(`round ${round}: ${contestant.name}: ${rounded(redisUs, 3)} us of Redis a task`);
    }
  }
  return rounds;
}

/** From a push to its result, ms: with one list and with many partitions on the same server, in turns. */
async function pushToResult(
  server: RedisServer,
  { signal, progress }: BenchOptions,
): Promise<ReadonlyMap<number, readonly number[]>> {
  await using stack = new AsyncDisposableStack();
  const times = new Map([1, MANY].map((count) => [count, [] as number[]]));
  const queues = [];
  for (const count of times.keys()) {
    const queue = `awaited-${count}`;
    stack.use(startWorkerChild(server.address, queue, count));
    await untilRegistered(server, queue, count);
    queues.push({
      count,
      handle: stack.use(
        openQueue({ redis: server.address, queue, result: `${queue}-results`, partitions: count }),
      ),
    });
  }
  for (let i = 0; i < PUSHES; i++) {
    signal.throwIfAborted();
    for (const { count, handle } of shuffled(queues)) {
      const began = performance.now();
      await handle.result(await handle.enqueue({ id: idOf(i), n: i }), { timeoutMs: 10_000 });
      // watches are opened with the first results of each partition
      if (i >= PUSHES / 4) times.get(count)?.push(performance.now() - began);
    }
  }
  progress(
    `push to result: ${Array.from(times, ([n, all]) => `${n}: ${rounded(median(all), 3)} ms`).join(', ')}`,
  );
  return times;
}

async function untilRegistered(server: RedisServer, queue: string, count: number): Promise<void> {
  const redis = server.client();
  const lists = partitionKeys(queue, `${queue}-results`, count);
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const there = await Promise.all(lists.map(({ workers }) => redis.zcard(workers)));
    if (there.every((workers) => workers > 0)) return;
    if (performance.now() > deadline) throw new Error(`the worker of ${queue} does not start`);
    await delay(20);
  }
}

interface Idle {
  /** Commands a second that a worker of many partitions sends. */
  readonly sent: number;
  /** The same with those that its scripts execute. */
  readonly executed: number;
}

async function idleCommands({ idleMs = IDLE_MS, progress, signal }: BenchOptions): Promise<Idle> {
  await using server = await startRedis();
  const redis = server.client();
  const queue = 'idle';
  await using _worker = startWorkerChild(server.address, queue, MANY);
  await untilRegistered(server, queue, MANY);
  await delay(SETTLE_MS, undefined, { signal });
  using watched = await monitor(server);
  await redis.echo('connected');
  await delay(idleMs, undefined, { signal });
  const own = await watched.commands(redis);
  const of = (some: typeof own): number => some.length / (idleMs / 1_000);
  const idle = { sent: of(own.filter(({ from }) => from !== 'lua')), executed: of(own) };
  progress(`idle on ${MANY} partitions: ${rounded(idle.sent, 2)} commands a second`);
  return idle;
}

function rows(rounds: Rounds): string {
  return table(
    ['', 'TASKS/S', 'REDIS US/TASK', 'WORKER US/TASK', 'LARGEST SHARE'],
    Array.from(rounds, ([name, drains]) => {
      const middle = (key: keyof Measured): number => median(drains.map((drain) => drain[key]));
      return [
        name,
        thousands(middle('tasksPerSecond')),
        rounded(middle('redisUs'), 3),
        rounded(middle('clientUs'), 3),
        `${Math.round(100 * middle('share'))} %`,
      ];
    }),
  );
}

function figuresOf(rounds: Rounds, latencies: ReadonlyMap<number, readonly number[]>, idle: Idle): Figure[] {
  const [single = [], spread = []] = [SINGLE, SPREAD].map((name) => rounds.get(name));
  const of = (some: readonly Measured[], key: keyof Measured): number[] => some.map((one) => one[key]);
  const p50s = (count: number): number[] => parts(latencies.get(count) ?? [], PUSH_PARTS).map(median);
  const most = (name: string, goal: number, values: number[], unit: Figure['unit'] = ''): Figure => ({
    name,
    unit,
    is: 'at most',
    goal,
    values,
  });
  return [
    most(
      "Redis' processor time per task, partitions / one list",
      1.15,
      ratios(of(spread, 'redisUs'), of(single, 'redisUs')),
    ),
    most(
      "the worker's processor time per task, partitions / one list",
      1.25,
      ratios(of(spread, 'clientUs'), of(single, 'clientUs')),
    ),
    most(
      'largest share of the commands of one server',
      30,
      of(spread, 'share').map((share) => 100 * share),
      '%',
    ),
    most(`push to result, p50, ${MANY} partitions / one list`, 1.3, ratios(p50s(MANY), p50s(1))),
    // a renewal more or less in the time that is watched
    { ...most(`commands of an idle worker on ${MANY} partitions`, 2, [idle.sent], '/s'), least: 0.7 },
  ];
}
