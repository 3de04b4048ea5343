/**
 * `handlers`: what a task costs in a function of Python (`--python`), beside one in TypeScript (`--module`), and beside RQ, arq and
 * Celery (prefork) with the same no-op function; one process and four. Each result is stored.
 *
 * The workers run one after the other, because four processes of each would be in one another's way; ratios are of medians.
 */
import { workerProgram } from '../cli/dev/worker-program.ts';
import { table } from '../cli/terminal/table.ts';
import { queueKeys } from '../queue/keys.ts';
import { pythonOfPackage } from '../test/support/python.ts';
import { cpuMsOfTree, startChild } from './child.ts';
import { listAndHash, type Contestant } from './contestants.ts';
import { goalLines, goalRows, median, rounded, thousands, type Goal } from './figures.ts';
import { LIBRARIES, pythonLibrary } from './python-libraries.ts';
import { startBenchRedis, type BenchRedis } from './redis.ts';
import type { Bench, BenchOptions } from './report.ts';
import { drainRound, waitReady } from './rounds.ts';

const ROUNDS = 3;
const WARM_UP_TASKS = 1_000;
const MOST_TASKS = 200_000;
const FEWEST_TASKS = 1_000;
const PROCESSES = [1, 4];

interface Figures {
  readonly name: string;
  readonly tasksPerSecond: number;
  /** CPU time of all its processes for a task, µs. */
  readonly cpuUs: number;
}

export const handlers: Bench = async (options) => {
  await using server = await startBenchRedis(options.progress);
  const python = await pythonOfPackage();
  const found: Figures[] = [];
  for (const processes of PROCESSES) {
    found.push(await measure(server, ours(server, 'TypeScript', processes), options));
    found.push(await measure(server, ours(server, 'Python', processes, python), options));
    for (const library of LIBRARIES)
      found.push(await measure(server, await pythonLibrary(server, library, processes), options));
  }
  const goals = PROCESSES.flatMap((processes, i) => goalsOf(processes, found.slice(5 * i, 5 * i + 5)));
  const rows = found.map(({ name, tasksPerSecond, cpuUs }) => [
    name,
    thousands(tasksPerSecond),
    rounded(cpuUs, 3),
  ]);
  return {
    text: `${table(['', 'TASKS/S', 'CPU US/TASK'], rows)}\n${goalLines(goals)}`,
    data: { redis: server.version, contestants: found, goals: goalRows(goals) },
  };
};

/** Our own worker with a handler in this language; as many processes as slots. */
function ours(
  server: BenchRedis,
  language: 'TypeScript' | 'Python',
  processes: number,
  python = '',
): Contestant {
  const queue = `${language}-${processes}`;
  const result = `${queue}:result`;
  const handler =
    language === 'TypeScript'
      ? { module: `${import.meta.dirname}/handler.ts` }
      : { python: 'python_noop:noop', pythonExecutable: python };
  const retry = { attempts: 5, backoff: { initialMs: 1_000, maxMs: 60_000, jitter: true } };
  const settings = {
    redis: { url: server.url },
    queue,
    result,
    ...handler,
    concurrency: processes,
    graceMs: 5_000,
    retry,
  };
  const PYTHONPATH = `${import.meta.dirname}/../python/src:${import.meta.dirname}/workers`;
  const child = startChild(workerProgram(settings, queue, { ...process.env, PYTHONPATH }));
  return {
    ...listAndHash(`Millrace, ${language}, concurrency ${processes}`, server, queue, result),
    child,
    ready: async () => (await server.redis.zcard(queueKeys(queue, result).workers)) === 1,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

async function measure(server: BenchRedis, opened: Contestant, options: BenchOptions): Promise<Figures> {
  await using contestant = opened;
  await waitReady(contestant, options.signal);
  const warm = await drainRound(server, contestant, WARM_UP_TASKS);
  const wanted = Math.round(warm.tasksPerSecond * options.seconds);
  const count = Math.min(options.tasks ?? MOST_TASKS, Math.max(FEWEST_TASKS, wanted));
  const rates: number[] = [];
  const costs: number[] = [];
  for (let round = 0; round < (options.rounds ?? ROUNDS); round++) {
    options.signal.throwIfAborted();
    const before = cpuMsOfTree(contestant.child.pid);
    const { tasksPerSecond } = await drainRound(server, contestant, count);
    rates.push(tasksPerSecond);
    costs.push((1_000 * (cpuMsOfTree(contestant.child.pid) - before)) / count);
    options.progress(`${contestant.name}: ${thousands(tasksPerSecond)}/s`);
  }
  return { name: contestant.name, tasksPerSecond: median(rates), cpuUs: median(costs) };
}

function goalsOf(processes: number, [typescript, python, ...others]: readonly Figures[]): Goal[] {
  const best = Math.max(...others.map(({ tasksPerSecond }) => tasksPerSecond));
  const of = `with ${processes} process${processes === 1 ? '' : 'es'}`;
  const goal = { unit: '' } as const;
  return [
    {
      ...goal,
      name: `Python / the best of the libraries, ${of}`,
      measured: (python?.tasksPerSecond ?? NaN) / best,
      goal: 5,
      is: 'at least',
    },
    {
      ...goal,
      name: `time of a task: Python / TypeScript, ${of}`,
      measured: (typescript?.tasksPerSecond ?? NaN) / (python?.tasksPerSecond ?? NaN),
      goal: 2,
      is: 'at most',
    },
  ];
}
