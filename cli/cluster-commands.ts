/** The commands that are about a cluster, or an installation, as a whole. */
import { Option, type Command } from 'commander';
import { addClusterFlags } from './access-flags.ts';
import { outputOption } from './output.ts';

type Define = (name: string, description: string) => Command;

/** As in pool-rows.ts, which is not loaded for its names. */
const POOL_ORDERS = ['name', 'waiting', 'in-flight', 'replicas', 'dead', 'age'];

export function addClusterCommands(command: Define): void {
  addClusterFlags(command('pools', 'the pools of a cluster'))
    .option('-A, --all-namespaces', 'of all namespaces')
    .option('-w, --watch', 'then each change, until Ctrl-C')
    .addOption(new Option('--sort-by <what>', 'the most first').choices(POOL_ORDERS).default('name'))
    .addOption(outputOption('wide'))
    .action(async (flags: import('./pools.ts').PoolsFlags) => {
      const { listPools } = await import('./pools.ts');
      await listPools(flags);
    });
}

export function addVersion(command: Define): void {
  addClusterFlags(command('version', 'print the version'))
    .option('--cluster', 'and the versions of what is installed in the cluster')
    .addOption(outputOption())
    .action(async (flags: import('./version.ts').VersionFlags) => {
      const { printVersion } = await import('./version.ts');
      await printVersion(flags);
    });
}
