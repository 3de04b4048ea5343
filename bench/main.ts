/**
 * `npm run bench -- NAME`: benchmarks as commands. Each starts what it needs (a Redis on loopback, workers, those it is
 * compared with), prints a table and how it stands to the goals, and leaves nothing behind. With `--json`, progress goes to
 * stderr and the last line of stdout is one JSON object. A missed goal is a finding, not a failure: the exit code is 0. `all` runs
 * those that need no cluster, and exits with 1 if a figure is worse than in a kept run.
 */
import { cpus } from 'node:os';
import { Argument, Option, type Command } from 'commander';
import { onSignals } from '../runtime/lifecycle.ts';
import { createProgram, duration, integer, runProgram, UsageError } from '../runtime/program.ts';
import { version } from '../runtime/version.ts';
import type { Bench, BenchOptions } from './report/report.ts';

const benches: Record<string, () => Promise<Bench>> = {
  all: async () => (await import('./all.ts')).all,
  batches: async () => (await import('./batches.ts')).batches,
  cluster: async () => (await import('./cluster.ts')).cluster,
  burst: async () => (await import('./burst.ts')).burst,
  delayed: async () => (await import('./delayed.ts')).delayed,
  fleet: async () => (await import('./fleet.ts')).fleet,
  handlers: async () => (await import('./handlers.ts')).handlers,
  hostile: async () => (await import('./hostile.ts')).hostile,
  jobs: async () => (await import('./jobs.ts')).jobs,
  latency: async () => (await import('./latency.ts')).latency,
  memory: async () => (await import('./memory.ts')).memory,
  partitions: async () => (await import('./partitions.ts')).partitions,
  policy: async () => (await import('./policy.ts')).policy,
  priorities: async () => (await import('./priorities.ts')).priorities,
  robustness: async () => (await import('./robustness.ts')).robustness,
  'scale-in': async () => (await import('./scale-in.ts')).scaleIn,
  sources: async () => (await import('./sources.ts')).sources,
  'sources-seen': async () => (await import('./sources-seen.ts')).sourcesSeen,
  throughput: async () => (await import('./throughput.ts')).throughput,
  wake: async () => (await import('./wake.ts')).wake,
};

interface Flags {
  readonly json?: boolean;
  readonly seconds: number;
  readonly tasks?: number;
  readonly rounds?: number;
  readonly seeds: number;
  readonly source?: string;
  readonly quick?: boolean;
  readonly baseline?: string;
  readonly keep?: boolean;
}

/** Of `all`, which has sizes of its own and takes no other options. */
const ALL_OPTIONS = new Set(['quick', 'baseline', 'keep']);

const durations = (text: string): number[] => text.split(',').map(duration);
const sizes = (text: string): number[] => text.split(',').map(integer(100, 100_000));

async function main(): Promise<void> {
  const names = Object.keys(benches).join(', ');
  const program = createProgram('bench', version)
    .description('Measures Millrace on this machine.')
    .addArgument(new Argument('<name>', names))
    .option('--json', 'one JSON object as the last line of stdout; progress to stderr')
    .option('--seconds <n>', 'approximate length of one measurement', integer(1, 600), 1)
    .option('--tasks <n>', 'number of tasks in one measurement', integer(100, 1_000_000_000))
    .option('--rounds <n>', 'repetitions of each measurement', integer(1, 1_000))
    .option('--trace <file>', 'policy: CSV to simulate, instead of generated traces')
    .addOption(
      new Option('--start-time <list>', 'policy: start times of a pod')
        .argParser(durations)
        .default([1_000, 5_000, 30_000], '1s,5s,30s'),
    )
    .addOption(
      new Option('--target <duration>', 'policy: target wait').argParser(duration).default(10_000, '10s'),
    )
    .option('--slots <n>', 'policy: tasks that a pod runs at a time', integer(1, 10_000), 1)
    .option('--max <n>', 'policy: maximum number of pods', integer(1, 10_000), 50)
    .option('--seeds <n>', 'robustness: number of seeds for each load', integer(1, 100), 1)
    .addOption(
      new Option('--pools <list>', 'fleet: numbers of pools to measure with')
        .argParser(sizes)
        .default([1_000, 5_000, 10_000], '1000,5000,10000'),
    )
    .option(
      '--source <name>',
      'scale-in: celery (the default), bullmq or sidekiq; sources-seen: a library, all by default; wake and fleet: pools of these sources, such as celery,rq, or all',
    )
    .option('--adopted', 'fleet: pools that adopt the Deployments of others, instead of having their own')
    .option('--profile <folder>', 'fleet: folder for CPU and heap profiles of the controller')
    .option('--baseline <file>', 'all: compare with this run, instead of bench/baseline.json')
    .option('--keep', 'all: keep this run in bench/baseline.json, for those after it to be compared with')
    .option('--quick', 'all: small sizes, to see that everything runs')
    .allowExcessArguments(false);
  program.parse();
  const [name = ''] = program.args;
  const load = Object.hasOwn(benches, name) ? benches[name] : undefined;
  if (!load) throw new UsageError(`there is no benchmark "${name}": there are ${names}`);
  expectOptionsOf(name, program);
  const { json, seconds, rounds, seeds, source, tasks, pools, adopted, profile, ...others } = program.opts<
    Flags & BenchOptions['simulated'] & BenchOptions['fleet']
  >();
  const { quick, baseline, keep, ...simulated } = others;
  using signals = onSignals();
  const started = performance.now();
  const report = await (
    await load()
  )({
    seconds,
    rounds,
    seeds,
    source,
    tasks,
    pythonLibraries: true,
    simulated,
    fleet: { pools, ...(adopted && { adopted }), ...(profile && { profile }) },
    all: { ...(quick && { quick }), ...(baseline && { baseline }), ...(keep && { keep }) },
    signal: signals.stopping,
    progress: (line) => void process.stderr.write(`${line}\n`),
  });
  (json ? process.stderr : process.stdout).write(`\n${report.text}`);
  if (report.failed) process.exitCode = 1;
  if (!json) return;
  const machine = { node: process.version, cores: cpus().length, cpu: cpus()[0]?.model };
  const tookS = Math.round((performance.now() - started) / 1_000);
  process.stdout.write(`${JSON.stringify({ bench: name, version, tookS, machine, ...report.data })}\n`);
}

/** Throws for an option that `name` would ignore. */
function expectOptionsOf(name: string, program: Command): void {
  for (const option of program.options) {
    const key = option.attributeName();
    if (key === 'json' || program.getOptionValueSource(key) !== 'cli') continue;
    if (name === 'all' && !ALL_OPTIONS.has(key))
      throw new UsageError(`all has sizes of its own: leave out ${option.long}`);
    if (name !== 'all' && ALL_OPTIONS.has(key)) throw new UsageError(`${option.long} is for all only`);
  }
}

await runProgram('bench', main);
