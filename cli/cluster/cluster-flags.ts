/** The flags that name a cluster and a namespace in it. */
import type { Command } from 'commander';
import { headed, option } from '../../runtime/program.ts';

/** A cluster, and a namespace in it. */
export interface ClusterFlags {
  readonly namespace?: string;
  readonly context?: string;
  readonly kubeconfig?: string;
  /** What the environment variable `KUBECONFIG` says. */
  readonly kubeconfigs?: string;
}

export const CLUSTER = 'Cluster:';

export function addClusterFlags(command: Command): Command {
  return headed(CLUSTER, command, () =>
    command
      .option('-n, --namespace <name>', "namespace in the cluster (default: the context's)")
      .option('--context <name>', 'context of the kubeconfig (default: the current one)')
      .addOption(
        option(
          '--kubeconfig <file>',
          'path of the kubeconfig (default: KUBECONFIG, or ~/.kube/config)',
          'MILLRACE_KUBECONFIG',
        ),
      )
      // so that only main files read the environment
      .addOption(option('--kubeconfigs <files>', 'several', 'KUBECONFIG').hideHelp()),
  );
}
