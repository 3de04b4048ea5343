/** The commands that are about a cluster, or an installation, as a whole. */
import { Argument, Option, type Command } from 'commander';
import { addAccessFlags } from './access/access-flags.ts';
import { addClusterFlags } from './cluster/cluster-flags.ts';
import { outputOption } from './terminal/output.ts';

type Define = (name: string, description: string) => Command;

const POOL_ORDERS: readonly import('./commands/pool-rows.ts').PoolOrder[] = [
  'name',
  'waiting',
  'in-flight',
  'replicas',
  'dead',
  'age',
];

export function addClusterCommands(command: Define): void {
  addClusterFlags(command('pools', 'the pools of a cluster'))
    .option('-A, --all-namespaces', 'of all namespaces')
    .option('-w, --watch', 'then each change, until Ctrl-C')
    .addOption(new Option('--sort-by <what>', 'the most first').choices(POOL_ORDERS).default('name'))
    .addOption(outputOption('wide'))
    .action(async (flags: import('./commands/pools.ts').PoolsFlags) => {
      const { listPools } = await import('./commands/pools.ts');
      await listPools(flags);
    });
}

/** Both are about the cluster, unless a Redis is named. */
export function addLooks(command: Define): void {
  addAccessFlags(command('top', 'pools, or the queues of a Redis, live on the whole screen'), 'flag')
    .option('-A, --all-namespaces', 'pools of all namespaces')
    .option('--once', 'print what it would show, and end')
    .action(async (flags: import('./top/top.ts').TopFlags) => {
      const { top } = await import('./top/top.ts');
      await top(flags);
    });

  addAccessFlags(
    command('doctor', 'look for what is wrong with a Redis, a pool or the installation, and say what to do'),
    'argument',
  )
    .option('-A, --all-namespaces', 'pools of all namespaces')
    .addOption(outputOption())
    .action(async (_pool: string | undefined, flags: import('./doctor/finding.ts').DoctorFlags) => {
      const { doctor } = await import('./doctor/doctor.ts');
      await doctor(flags);
    });
}

export function addCompletion(program: Command, command: Define): void {
  command('completion', 'print a script that completes commands, flags and pools in a shell')
    .addArgument(new Argument('<shell>', 'which one').choices(['bash', 'zsh', 'fish']))
    .action(async (shell: import('./completion.ts').Shell) => {
      const { printCompletion } = await import('./completion.ts');
      printCompletion(shell);
    });
  // what the script asks at each Tab
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .action(async (words: string[]) => {
      const { printCandidates } = await import('./completion.ts');
      await printCandidates(program, words);
    });
}

export function addVersion(command: Define): void {
  addClusterFlags(command('version', 'print the version'))
    .option('--cluster', 'and the versions of what is installed in the cluster')
    .addOption(outputOption())
    .action(async (flags: import('./commands/version.ts').VersionFlags) => {
      const { printVersion } = await import('./commands/version.ts');
      await printVersion(flags);
    });
}
