/**
 * `npm run chaos -- --seed 7 --tasks 100000`: Millrace while everything fails, judged by a ledger. Exit code 1, with an
 * account of what went wrong, when a task was lost, ended twice, was settled by a worker that did not hold it, was cut
 * off by scaling, or left something behind. The same seed makes the same tasks and the same schedule of faults.
 */
import { Option } from 'commander';
import { MAX_PARTITIONS } from '../../queue/partitions.ts';
import { onSignals } from '../../runtime/lifecycle.ts';
import { createProgram, duration, integer, runProgram } from '../../runtime/program.ts';
import { version } from '../../runtime/version.ts';
import { createKindPlan } from './kind-plan.ts';
import { createPlan } from './plan.ts';
import { account, figuresOf, figuresText, type Figures, type Told } from './report.ts';
import { runChaos } from './run.ts';
import { createTakeoverPlan } from './takeover-plan.ts';
import { takeoverFigures, type TakeoverFigures } from './takeover-report.ts';
import { runTakeovers } from './takeover-run.ts';

interface Flags {
  readonly seed: number;
  readonly tasks?: number;
  readonly batches?: number;
  readonly partitions?: number;
  readonly workers: number;
  readonly limit?: number;
  readonly json?: boolean;
  readonly kind?: boolean;
  readonly sentinel?: boolean;
  readonly cluster?: boolean;
  readonly every: number;
  readonly split?: number;
  readonly for?: number;
}

/** Tasks per ms on a very slow machine: a run that takes longer hangs. */
const SLOW_PER_MS = 0.1;
/** With takeovers, it waits for replicas, and for an election every so often. */
const SLOW_WITH_TAKEOVERS = 0.005;
const START_MS = 120_000;
const EVERY_MS = 30_000;

async function main(): Promise<void> {
  const program = createProgram('chaos', version)
    .description('Runs tasks through real workers while they, Redis, the network and the controller fail.')
    .addOption(
      new Option('--seed <n>', 'seed of the tasks and of the schedule of faults')
        .argParser(integer(0))
        .default(Math.floor(Math.random() * 1e6), 'random'),
    )
    .option('--tasks <n>', 'number of tasks (default: 100000, or 8000 with --kind)', integer(1, 10_000_000))
    .option(
      '--batches <parts>',
      'number of tasks that come in batches besides, without --kind (default: 15% of --tasks)',
      integer(0, 10_000_000),
    )
    .addOption(
      new Option('--partitions <n>', 'one queue in so many partitions, in the place of two queues')
        .argParser(integer(2, MAX_PARTITIONS))
        .conflicts(['kind', 'sentinel', 'cluster', 'split']),
    )
    .option('--workers <n>', 'maximum number of workers', integer(1, 200), 6)
    .option('--limit <duration>', 'give up after this long (default: 2 minutes and 10 ms per task)', duration)
    .option(
      '--kind',
      'run in a cluster made with kind, where pods are deleted, evicted, killed, rolled out and scaled in',
    )
    .addOption(
      new Option('--sentinel', 'with three sentinels: again and again, the replica takes over').conflicts([
        'kind',
        'cluster',
      ]),
    )
    .addOption(
      new Option(
        '--cluster',
        'on a Redis Cluster: again and again, one of three primaries is lost',
      ).conflicts('kind'),
    )
    .addOption(
      new Option(
        '--split <duration>',
        'only this: sentinels and replicas lose the primary for so long, while clients and workers go on at both',
      )
        .argParser(duration)
        .conflicts(['kind', 'sentinel', 'cluster']),
    )
    .option('--every <duration>', 'from one takeover to the next', duration, EVERY_MS)
    .option('--for <duration>', 'with takeovers: push nothing more after this long', duration)
    .option('--json', 'one JSON object as the last line of stdout; the rest to stderr')
    .allowExcessArguments(false);
  program.parse();
  const {
    split,
    seed,
    workers,
    json,
    kind,
    sentinel,
    cluster,
    every,
    for: forMs,
    ...flags
  } = program.opts<Flags>();
  if (split !== undefined) return await playSplit(split, json === true);
  const tasks = flags.tasks ?? (kind ? 8_000 : 100_000);
  using signals = onSignals();
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  say(`seed ${seed}: ${tasks} tasks, at most ${workers} workers`);
  const limitMs = flags.limit ?? START_MS + tasks / (sentinel || cluster ? SLOW_WITH_TAKEOVERS : SLOW_PER_MS);
  const options = { limitMs, signal: signals.stopping, progress: say };
  const [figures, outcome] = await play();
  const text = account(outcome) + figuresText(figures);
  (json ? process.stderr : process.stdout).write(`\n${text}`);
  if (json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  if (outcome.violations.length > 0) process.exitCode = 1;

  async function play(): Promise<[Figures | TakeoverFigures, Told]> {
    if (kind) {
      // Docker and kind are for those who ask for them
      const { runKindChaos } = await import('./kind-run.ts');
      const plan = createKindPlan(seed, tasks);
      const inKind = await runKindChaos(plan, options);
      return [figuresOf(plan, inKind), inKind];
    }
    if (sentinel || cluster) {
      const plan = createTakeoverPlan(cluster ? 'cluster' : 'sentinel', seed, tasks, every, flags.batches);
      const withTakeovers = await runTakeovers({
        ...options,
        plan,
        workers,
        ...(forMs !== undefined && { forMs }),
      });
      return [takeoverFigures(plan, withTakeovers), withTakeovers];
    }
    const plan = createPlan(seed, tasks, flags.batches, flags.partitions);
    const local = await runChaos({ ...options, plan, workers });
    return [figuresOf(plan, local), local];
  }
}

async function playSplit(forMs: number, json: boolean): Promise<void> {
  const { runSplit, splitText } = await import('./split.ts');
  const outcomes = await runSplit(forMs, (line) => void process.stderr.write(`${line}\n`));
  (json ? process.stderr : process.stdout).write(splitText(outcomes));
  if (json) process.stdout.write(`${JSON.stringify(outcomes)}\n`);
  if (outcomes.some(({ violations }) => violations.length > 0)) process.exitCode = 1;
}

await runProgram('chaos', main);
