/** The commands about a whole cluster or installation. */
import { Argument, Option, type Command } from 'commander';
import { addAccessFlags } from './access/access-flags.ts';
import { addClusterFlags } from './cluster/cluster-flags.ts';
import type { CommandLog } from './terminal/command-log.ts';
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

export function addClusterCommands(command: Define, log: CommandLog): void {
  addClusterFlags(command('pools', 'list the pools of a cluster'))
    .option('-A, --all-namespaces', 'pools in all namespaces')
    .option('-w, --watch', 'keep printing changes until Ctrl-C')
    .addOption(
      new Option('--sort-by <column>', 'order of the rows, highest first (by name: alphabetical)')
        .choices(POOL_ORDERS)
        .default('name'),
    )
    .addOption(outputOption('wide'))
    .action(async (flags: import('./commands/pools.ts').PoolsFlags) => {
      const { listPools } = await import('./commands/pools.ts');
      await listPools(flags, log);
    });

  addClusterFlags(command('crons', 'list the cron tasks of pools, their last tasks and next times'))
    .argument('[pool]', 'a pool in the cluster: name or namespace/name')
    .option('-A, --all-namespaces', 'pools in all namespaces')
    .addOption(outputOption())
    .action(async (pool: string | undefined, flags: import('./commands/crons.ts').CronsFlags) => {
      const { listCrons } = await import('./commands/crons.ts');
      await listCrons(pool, flags);
    });
}

/** `top` and `doctor`: about the cluster by default, or about the Redis that is named. */
export function addTopAndDoctor(command: Define, env: NodeJS.ProcessEnv, log: CommandLog): void {
  addAccessFlags(command('top', 'watch pools, or the queues of a Redis, live in full screen'), 'flag')
    .option('-A, --all-namespaces', 'pools in all namespaces')
    .option('--once', 'print one screen as text and exit')
    .action(async (flags: import('./top/top.ts').TopFlags) => {
      const { top } = await import('./top/top.ts');
      await top(flags, log, env['TERM']);
    });

  addAccessFlags(
    command('doctor', 'check a Redis, a pool or the installation, and print how to fix each problem'),
    'argument',
  )
    .option('-A, --all-namespaces', 'pools in all namespaces')
    .addOption(outputOption())
    .action(async (_pool: string | undefined, flags: import('./doctor/finding.ts').DoctorFlags) => {
      const { doctor } = await import('./doctor/doctor.ts');
      await doctor(flags, log);
    });
}

export function addCompletion(program: Command, command: Define): void {
  command('completion', 'print a shell script that completes commands, flags and names of pools')
    .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh', 'fish']))
    .action(async (shell: import('./commands/completion.ts').Shell) => {
      const { printCompletion } = await import('./commands/completion.ts');
      printCompletion(shell);
    });
  // called by the script at each Tab
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .action(async (words: string[]) => {
      const { printCandidates } = await import('./commands/completion.ts');
      await printCandidates(program, words);
    });
}

export function addVersion(command: Define, log: CommandLog): void {
  addClusterFlags(command('version', 'print the version'))
    .option('--cluster', 'also print the versions installed in the cluster')
    .addOption(outputOption())
    .action(async (flags: import('./commands/version.ts').VersionFlags) => {
      const { printVersion } = await import('./commands/version.ts');
      await printVersion(flags, log);
    });
}
