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
import { cpuMsOfTree, startChild } from './run/child.ts';
import { listAndHash, type Contestant } from './run/contestants.ts';
import {
  costFigure,
  goalLines,
  goalRows,
  goalsOf,
  median,
  ratios,
  rounded,
  thousands,
  type Figure,
} from './report/figures.ts';
import { LIBRARIES, pythonLibrary } from './run/python-libraries.ts';
import { startBenchRedis, type BenchRedis } from './run/redis.ts';
import type { Bench, BenchOptions } from './report/report.ts';
import { drainRound, waitReady } from './run/rounds.ts';

const ROUNDS = 3;
const WARM_UP_TASKS = 1_000;
const MOST_TASKS = 200_000;
const FEWEST_TASKS = 1_000;
/** Without other libraries, one is enough. */
const PROCESSES = [1, 4];

/** Tasks at a time, where a process has several. */
const AT_A_TIME = 100;

/** A value of each round. */
interface Measured {
  readonly name: string;
  readonly tasksPerSecond: readonly number[];
  /** CPU time of all its processes for a task, µs. */
  readonly cpuUs: readonly number[];
}

export const handlers: Bench = async (options) => {
  await using server = await startBenchRedis(options.progress);
  const python = await pythonOfPackage();
  const typescript = await measure(server, inTypeScript(server), options);
  const found = [typescript];
  const figures = [costOf(typescript)];
  const libraries = options.pythonLibraries ? LIBRARIES : [];
  for (const processes of options.pythonLibraries ? PROCESSES : PROCESSES.slice(0, 1)) {
    const shared = await measure(server, inPython(server, python, processes, AT_A_TIME), options);
    const single = await measure(server, inPython(server, python, processes, processes), options);
    const others: Measured[] = [];
    for (const library of libraries)
      others.push(await measure(server, await pythonLibrary(server, library, processes), options));
    found.push(shared, single, ...others);
    figures.push(...figuresOf(processes, { typescript, shared, single, others }));
  }
  const goals = goalsOf(figures);
  const contestants = found.map(({ name, tasksPerSecond, cpuUs }) => ({
    name,
    tasksPerSecond: median(tasksPerSecond),
    cpuUs: median(cpuUs),
  }));
  const rows = contestants.map(({ name, tasksPerSecond, cpuUs }) => [
    name,
    thousands(tasksPerSecond),
    rounded(cpuUs, 3),
  ]);
  return {
    text: `${table(['', 'TASKS/S', 'CPU US/TASK'], rows)}\n${goalLines(goals)}`,
    data: { redis: server.version, contestants, goals: goalRows(goals) },
    figures,
  };
};

function inTypeScript(server: BenchRedis): Contestant {
  const handler = { module: `${import.meta.dirname}/workers/handler.ts`, concurrency: AT_A_TIME };
  return millraceWith(server, `TypeScript, ${AT_A_TIME} tasks at a time`, handler);
}

function inPython(server: BenchRedis, python: string, processes: number, concurrency: number): Contestant {
  const handler = {
    python: 'python_noop:noop',
    pythonExecutable: python,
    pythonProcesses: processes,
    concurrency,
  };
  const many = processes === 1 ? '1 process' : `${processes} processes`;
  return millraceWith(
    server,
    `Python, ${many}, ${concurrency === 1 ? '1 task' : `${concurrency} tasks`} at a time`,
    handler,
  );
}

function millraceWith(
  server: BenchRedis,
  title: string,
  handler: { readonly concurrency: number; readonly module?: string; readonly python?: string },
): Contestant {
  const queue = title.replaceAll(/\W+/g, '-');
  const result = `${queue}:result`;
  const retry = { attempts: 5, backoff: { initialMs: 1_000, maxMs: 60_000, jitter: true } };
  const settings = { redis: { url: server.url }, queue, result, ...handler, graceMs: 5_000, retry };
  const PYTHONPATH = `${import.meta.dirname}/../python/src:${import.meta.dirname}/workers`;
  const child = startChild(workerProgram(settings, queue, { ...process.env, PYTHONPATH }));
  return {
    ...listAndHash(`Millrace, ${title}`, server, queue, result),
    children: [child],
    ready: async () => (await server.redis.zcard(queueKeys(queue, result).workers)) === 1,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

async function measure(server: BenchRedis, opened: Contestant, options: BenchOptions): Promise<Measured> {
  await using contestant = opened;
  await waitReady(contestant, options.signal);
  const warm = await drainRound(server, contestant, WARM_UP_TASKS);
  const wanted = Math.round(warm.tasksPerSecond * options.seconds);
  const count = Math.min(options.tasks ?? MOST_TASKS, Math.max(FEWEST_TASKS, wanted));
  const rates: number[] = [];
  const costs: number[] = [];
  for (let round = 0; round < (options.rounds ?? ROUNDS); round++) {
    options.signal.throwIfAborted();
    const before = cpuMsOfAll(contestant);
    const { tasksPerSecond } = await drainRound(server, contestant, count);
    rates.push(tasksPerSecond);
    costs.push((1_000 * (cpuMsOfAll(contestant) - before)) / count);
    options.progress(`${contestant.name}: ${thousands(tasksPerSecond)}/s`);
  }
  return { name: contestant.name, tasksPerSecond: rates, cpuUs: costs };
}

function cpuMsOfAll({ children }: Contestant): number {
  return children.reduce((sum, { pid }) => sum + cpuMsOfTree(pid), 0);
}

interface Compared {
  readonly typescript: Measured;
  /** Python with several tasks in a process, and with one. */
  readonly shared: Measured;
  readonly single: Measured;
  readonly others: readonly Measured[];
}

function figuresOf(processes: number, { typescript, shared, single, others }: Compared): Figure[] {
  const many = processes === 1 ? '1 process' : `${processes} processes`;
  const best = Math.max(...others.map(({ tasksPerSecond }) => median(tasksPerSecond)));
  const faster = (name: string, { tasksPerSecond }: Measured): Figure => ({
    name: `${many}, ${name}: to the best of the libraries`,
    unit: '',
    is: 'at least',
    goal: 5,
    values: tasksPerSecond.map((rate) => rate / best),
  });
  return [
    ...(others.length > 0 ? [faster('many tasks at a time', shared), faster('one task each', single)] : []),
    {
      name: `${many}, many tasks at a time: time of a task, to TypeScript`,
      unit: '',
      is: 'at most',
      goal: 2,
      values: ratios(typescript.tasksPerSecond, shared.tasksPerSecond),
    },
    costOf(shared),
    costOf(single),
  ];
}

const costOf = ({ name, cpuUs }: Measured): Figure =>
  costFigure(`${name.replace('Millrace, ', '')}: a task`, cpuUs);
