/** The flags that name a cluster and a namespace in it. */
import type { Command } from 'commander';
import { option } from '../../runtime/program.ts';

/** Which cluster, and where in it. */
export interface ClusterFlags {
  readonly namespace?: string;
  readonly context?: string;
  readonly kubeconfig?: string;
}

export function addClusterFlags(command: Command): Command {
  return command
    .option('-n, --namespace <name>', "of the cluster (the context's)")
    .option('--context <name>', 'of the kubeconfig (the current one)')
    .addOption(option('--kubeconfig <file>', 'else KUBECONFIG or ~/.kube/config', 'MILLRACE_KUBECONFIG'));
}
