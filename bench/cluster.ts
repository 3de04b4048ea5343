/**
 * `cluster`: how many no-op tasks a second one worker works off on a Redis Cluster of three primaries, against a single server: with
 * the result hash in the slot of the queue, and in a slot of another primary.
 */
import { table } from '../cli/terminal/table.ts';
import { workerProgram } from '../cli/dev/worker-program.ts';
import type { RedisAddress } from '../queue/connection/connection.ts';
import { queueKeys } from '../queue/keys.ts';
import { startCluster, type RedisCluster } from '../test/support/cluster.ts';
import { startRedis, type RedisServer } from '../test/support/redis.ts';
import { startChild } from './run/child.ts';
import type { Contestant } from './run/contestants.ts';
import {
  costFigure,
  goalLines,
  goalRows,
  goalsOf,
  median,
  ratios,
  rounded,
  shuffled,
  thousands,
  type Figure,
} from './report/figures.ts';
import type { Bench, BenchOptions } from './report/report.ts';
import { drainRound, waitReady, type Drain } from './run/rounds.ts';
import { pushTasks, verifyResults } from './run/tasks.ts';

const CONCURRENCY = 100;
const ROUNDS = 9;
const WARM_UP_TASKS = 20_000;
const MOST_TASKS = 400_000;

const SINGLE = 'single server';
const SAME = 'cluster, results in the slot of the queue';
const APART = 'cluster, results on another primary';

/** A contestant, and the CPU time of all its servers, ms. */
interface Entrant {
  readonly contestant: Contestant;
  readonly cpuMs: () => Promise<number>;
}

export const cluster: Bench = async (options) => {
  await using stack = new AsyncDisposableStack();
  const single = stack.use(await startRedis());
  const nodes = stack.use(await startCluster());
  const same = { queue: '{same}:tasks', result: '{same}:results' };
  const entrants = [
    entrant(SINGLE, single.address, { queue: 'single', result: 'results' }, single, single),
    await inCluster(SAME, nodes, same),
    await inCluster(APART, nodes, await keysApart(nodes)),
  ].map((one) => (stack.use(one.contestant), one));
  const count = options.rounds ?? ROUNDS;
  const rounds = await measure(entrants, count, options);
  const figures = figuresOf(rounds);
  const goals = goalsOf(figures);
  return {
    text: `${rows(rounds)}\n${goalLines(goals)}`,
    data: { rounds: count, contestants: Object.fromEntries(rounds), goals: goalRows(goals) },
    figures,
  };
};

interface Names {
  readonly queue: string;
  readonly result: string;
}

async function keysApart(nodes: RedisCluster): Promise<Names> {
  for (let i = 0; ; i++) {
    const names = { queue: `{apart-${i}}`, result: `results-${i}` };
    if ((await nodes.ownerOf(names.queue)) !== (await nodes.ownerOf(names.result))) return names;
  }
}

async function inCluster(name: string, nodes: RedisCluster, names: Names): Promise<Entrant> {
  const [queues, results] = [await nodes.ownerOf(names.queue), await nodes.ownerOf(names.result)];
  return entrant(name, nodes.address, names, queues, results);
}

function entrant(
  name: string,
  redis: RedisAddress,
  { queue, result }: Names,
  ofQueue: RedisServer,
  ofResults: RedisServer,
): Entrant {
  const [queues, results] = [ofQueue.client(), ofResults.client()];
  const module = `${import.meta.dirname}/workers/handler.ts`;
  const retry = { attempts: 5, backoff: { initialMs: 1_000, maxMs: 60_000, jitter: true } };
  const own = { redis, queue, result, module, concurrency: CONCURRENCY, graceMs: 5_000, retry };
  const child = startChild(workerProgram(own, queue, process.env));
  // in the slot of the queue
  const aside = queue.startsWith('{') ? `${queue}:aside` : `{${queue}}:aside`;
  const servers = new Set([ofQueue, ofResults]);
  return {
    cpuMs: async () => {
      const times = Array.from(servers, async (server) =>
        cpuOf(await (server === ofQueue ? queues : results).info('cpu')),
      );
      return (await Promise.all(times)).reduce((sum, ms) => sum + ms);
    },
    contestant: {
      name,
      children: [child],
      ready: async () => (await queues.zcard(queueKeys(queue, result).workers)) === 1,
      fill: (count) => pushTasks(queues, aside, count),
      release: async () => void (await queues.rename(aside, queue)),
      done: () => results.hlen(result),
      verify: (count) => verifyResults(results, result, count, name),
      clear: async () => void (await results.del(result)),
      [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
    },
  };
}

/** CPU time of a server, ms, from its `INFO cpu`. */
export function cpuOf(info: string): number {
  const of = (field: string): number => Number(new RegExp(`^${field}:(.*)\r?$`, 'm').exec(info)?.[1]);
  return 1_000 * (of('used_cpu_sys') + of('used_cpu_user'));
}

type Rounds = Map<string, Drain[]>;

async function measure(
  entrants: readonly Entrant[],
  count: number,
  { tasks = MOST_TASKS, seconds, signal, progress }: BenchOptions,
): Promise<Rounds> {
  const rounds: Rounds = new Map(entrants.map(({ contestant }) => [contestant.name, []]));
  let size = tasks;
  for (const { contestant, cpuMs } of entrants) {
    await waitReady(contestant, signal);
    signal.throwIfAborted();
    const { tasksPerSecond } = await drainRound({ cpuMs }, contestant, Math.min(tasks, WARM_UP_TASKS));
    size = Math.min(size, Math.round(tasksPerSecond * seconds));
  }
  for (let round = 1; round <= count; round++) {
    for (const { contestant, cpuMs } of shuffled(entrants)) {
      signal.throwIfAborted();
      const measured = await drainRound({ cpuMs }, contestant, size);
      rounds.get(contestant.name)?.push(measured);
      progress(`round ${round}: ${contestant.name}: ${thousands(measured.tasksPerSecond)}/s`);
    }
  }
  return rounds;
}

function rows(rounds: Rounds): string {
  return table(
    ['', 'TASKS/S', 'REDIS US/TASK', 'WORKER US/TASK'],
    Array.from(rounds, ([name, drains]) => {
      const middle = (key: keyof Drain): number => median(drains.map((one) => one[key]));
      return [
        name,
        thousands(middle('tasksPerSecond')),
        rounded(middle('redisUs'), 3),
        rounded(middle('clientUs'), 3),
      ];
    }),
  );
}

function figuresOf(rounds: Rounds): Figure[] {
  const of = (name: string, key: keyof Drain): number[] => (rounds.get(name) ?? []).map((one) => one[key]);
  const rate = (name: string, goal: number): Figure => ({
    name: `${name} / ${SINGLE}`,
    unit: '',
    is: 'at least',
    goal,
    values: ratios(of(name, 'tasksPerSecond'), of(SINGLE, 'tasksPerSecond')),
  });
  const worker = (name: string): Figure => costFigure(`worker, a task: ${name}`, of(name, 'clientUs'));
  return [rate(SAME, 0.9), rate(APART, 0.45), worker(SAME), worker(APART)];
}
