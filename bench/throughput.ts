/**
 * `throughput`: how many no-op tasks a second one worker process works off, and two on the same queue, each result stored,
 * against BullMQ, against a plain client, and against what Redis can do at all; without and with an append-only file (fsync every
 * second).
 */
import { table } from '../cli/terminal/table.ts';
import { bullmq, drainer, millraceWorker, type Contestant } from './run/contestants.ts';
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
import { startBenchRedis, type BenchRedis } from './run/redis.ts';
import type { Bench, BenchOptions } from './report/report.ts';
import { drainRound, waitReady, warmUp, type Drain } from './run/rounds.ts';
import { prepareWorkerBundle } from './run/worker-bundle.ts';

/** In the first drain, which shows how many tasks a round needs. */
const FIRST_TASKS = 20_000;
const MOST_TASKS = 400_000;
const FEWEST_TASKS = 2_000;

const MILLRACE_1 = 'Millrace, concurrency 1';
const MILLRACE_100 = 'Millrace, concurrency 100';
const TWO = 'Millrace, 2 processes, concurrency 100';
const BULLMQ_1 = 'BullMQ, concurrency 1';
const BULLMQ_100 = 'BullMQ, concurrency 100';
const PLAIN = 'RPOP, HSET one by one';
const LIMIT = 'limit: RPOP, HSET 64 deep';

const ROUNDS = 5;

type Rounds = Map<string, { readonly without: Drain[]; readonly withAof: Drain[] }>;

export const throughput: Bench = async (options) => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startBenchRedis(options.progress));
  const bundle = await prepareWorkerBundle(stack);
  const contestants = [
    await millraceWorker(server, bundle, 1),
    await millraceWorker(server, bundle, 100),
    await millraceWorker(server, bundle, 100, 2),
    bullmq(server, 1),
    bullmq(server, 100),
    drainer(server, PLAIN, 'client-plain.ts'),
    drainer(server, LIMIT, 'client-pipelined.ts'),
  ].map((contestant) => stack.use(contestant));
  const count = options.rounds ?? ROUNDS;
  const rounds = await measure(server, contestants, count, options);
  const figures = figuresOf(rounds);
  const goals = goalsOf(figures);
  return {
    text: `${rows(rounds)}\n${goalLines(goals)}`,
    data: {
      redis: server.version,
      rounds: count,
      contestants: Object.fromEntries(
        [...rounds].map(([name, { without, withAof }]) => [
          name,
          { aofOff: summary(without), aofEverysec: summary(withAof) },
        ]),
      ),
      goals: goalRows(goals),
    },
    figures,
  };
};

async function measure(
  server: BenchRedis,
  contestants: readonly Contestant[],
  count: number,
  options: BenchOptions,
): Promise<Rounds> {
  const sizes = new Map<string, number>();
  const most = options.tasks ?? MOST_TASKS;
  const sizeFor = (rate: number | undefined): number => {
    const wanted = rate === undefined ? FIRST_TASKS : Math.round(rate * options.seconds);
    return Math.min(most, Math.max(FEWEST_TASKS, wanted));
  };
  for (const contestant of contestants) {
    await waitReady(contestant, options.signal);
    const rate = await warmUp(server, contestant, sizeFor, options.signal);
    sizes.set(contestant.name, sizeFor(rate));
    options.progress(`${contestant.name}: ${thousands(rate)}/s when it is warm`);
  }
  const rounds: Rounds = new Map(contestants.map(({ name }) => [name, { without: [], withAof: [] }]));
  for (let round = 1; round <= count; round++) {
    for (const aof of [false, true]) {
      await server.setAof(aof);
      for (const contestant of contestants) {
        options.signal.throwIfAborted();
        const { name } = contestant;
        const measured = await drainRound(server, contestant, sizes.get(name) ?? FEWEST_TASKS);
        rounds.get(name)?.[aof ? 'withAof' : 'without'].push(measured);
        options.progress(
          `round ${round}${aof ? ', AOF' : ''}: ${name}: ${thousands(measured.tasksPerSecond)}/s`,
        );
      }
    }
  }
  return rounds;
}

function summary(drains: readonly Drain[]): Record<keyof Drain, number> {
  const middle = (key: keyof Drain): number => rounded(median(drains.map((one) => one[key])));
  return {
    tasksPerSecond: Math.round(middle('tasksPerSecond')),
    redisUs: middle('redisUs'),
    clientUs: middle('clientUs'),
    redisBusy: middle('redisBusy'),
  };
}

function rows(rounds: Rounds): string {
  const head = ['', 'TASKS/S', 'WITH AOF', 'REDIS US/TASK', 'CLIENT US/TASK', 'REDIS BUSY'];
  return table(
    head,
    [...rounds].map(([name, { without, withAof }]) => {
      const plain = summary(without);
      const busy = `${Math.round(100 * plain.redisBusy)} %`;
      return [
        name,
        thousands(plain.tasksPerSecond),
        thousands(summary(withAof).tasksPerSecond),
        plain.redisUs,
        plain.clientUs,
        busy,
      ];
    }),
  );
}

function figuresOf(rounds: Rounds): Figure[] {
  const of = (name: string, key: keyof Drain = 'tasksPerSecond', aof = false): number[] =>
    (rounds.get(name)?.[aof ? 'withAof' : 'without'] ?? []).map((one) => one[key]);
  const ratio = (name: string, above: number[], below: number[], goal?: number): Figure => ({
    name,
    unit: '',
    is: 'at least',
    values: ratios(above, below),
    ...(goal !== undefined && { goal }),
  });
  const withAof = (name: string): number[] => of(name, 'tasksPerSecond', true);
  return [
    ratio('Millrace / BullMQ at concurrency 100', of(MILLRACE_100), of(BULLMQ_100), 16),
    ratio('Millrace / BullMQ at concurrency 1', of(MILLRACE_1), of(BULLMQ_1), 2.5),
    ratio('Millrace at concurrency 100 / limit', of(MILLRACE_100), of(LIMIT), 0.8),
    ratio('Millrace at concurrency 1 / limit', of(MILLRACE_1), of(LIMIT)),
    ratio('two worker processes on one Redis / limit', of(TWO), of(LIMIT), 0.95),
    ratio('with AOF / without, concurrency 100', withAof(MILLRACE_100), of(MILLRACE_100), 0.7),
    ratio('with AOF / without, concurrency 1', withAof(MILLRACE_1), of(MILLRACE_1), 0.7),
    costFigure('worker, a task at concurrency 100', of(MILLRACE_100, 'clientUs')),
    costFigure('worker, a task at concurrency 1', of(MILLRACE_1, 'clientUs')),
    costFigure('Redis, a task at concurrency 100', of(MILLRACE_100, 'redisUs')),
    costFigure('Redis, a task at concurrency 1', of(MILLRACE_1, 'redisUs')),
    costFigure('two worker processes, a task', of(TWO, 'clientUs')),
  ];
}
