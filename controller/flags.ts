/** The flags of the controller, and the environment variables behind them. */
import { InvalidArgumentError } from 'commander';
import { logLevels, type LogLevel } from '../runtime/log.ts';
import { createProgram, integer, option, withEnvironment } from '../runtime/program.ts';
import { version } from '../runtime/version.ts';
import { hostGuard } from './redis-hosts.ts';

export interface ControllerFlags {
  readonly namespace: readonly string[];
  readonly kubeconfig?: string;
  readonly leaderElection: boolean;
  readonly leaseName: string;
  readonly leaseNamespace?: string;
  readonly httpPort: number;
  readonly stateDir?: string;
  readonly dashboard: boolean;
  readonly dashboardShowTasks: boolean;
  readonly dashboardTokenFile?: string;
  readonly redisAllowedHosts: readonly string[];
  readonly allowLocal: boolean;
  readonly logLevel: LogLevel;
}

/** Throws `UsageError` or commander's own for what is wrong in `argv` or in the variables of `env`. */
export function parseFlags(argv: readonly string[], env: NodeJS.ProcessEnv): ControllerFlags {
  const list = (text: string, before: readonly string[]): string[] => [
    ...before,
    ...text
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  ];
  const hosts = (text: string, before: readonly string[]): string[] => {
    const allowed = list(text, before);
    try {
      hostGuard({ allowed, allowLocal: false });
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
    return allowed;
  };
  const program = createProgram('millrace-controller', version)
    .description('Scales WorkerPools by the length of their Redis queues.')
    .addOption(
      option(
        '--namespace <names>',
        'namespaces to watch, comma-separated; none for all',
        'MILLRACE_NAMESPACE',
      )
        .argParser(list)
        .default([], 'all'),
    )
    .addOption(
      option(
        '--kubeconfig <path>',
        'outside a cluster; else KUBECONFIG or ~/.kube/config',
        'MILLRACE_KUBECONFIG',
      ),
    )
    .addOption(
      option('--leader-election', 'take turns with other replicas', 'MILLRACE_LEADER_ELECTION').default(
        false,
      ),
    )
    .addOption(
      option('--lease-name <name>', 'the Lease that decides who leads', 'MILLRACE_LEASE_NAME').default(
        'millrace-controller',
      ),
    )
    .addOption(
      option('--lease-namespace <name>', "where it is; default the pod's own", 'MILLRACE_LEASE_NAMESPACE'),
    )
    .addOption(
      option('--http-port <port>', 'serves /healthz, /readyz and /metrics', 'MILLRACE_HTTP_PORT')
        .argParser(integer(0, 65_535))
        .default(8080),
    )
    .addOption(
      option(
        '--state-dir <path>',
        'a folder that outlives the process, for what the next one has to know if this one is killed',
        'MILLRACE_STATE_DIR',
      ),
    )
    .addOption(
      option('--dashboard', 'also serves the dashboard, at /dashboard/', 'MILLRACE_DASHBOARD').default(false),
    )
    .addOption(
      option(
        '--dashboard-show-tasks',
        'shows tasks, their ids and their errors there, to everybody who can reach the port',
        'MILLRACE_DASHBOARD_SHOW_TASKS',
      ).default(false),
    )
    .addOption(
      option(
        '--dashboard-token-file <path>',
        'who has the token in it may pause queues and move dead letters; without it nobody',
        'MILLRACE_DASHBOARD_TOKEN_FILE',
      ),
    )
    .addOption(
      option(
        '--redis-allowed-hosts <hosts>',
        'names, *.suffixes, addresses and networks (10.1.0.0/16) of the only Redis that pools may name, comma-separated',
        'MILLRACE_REDIS_ALLOWED_HOSTS',
      )
        .argParser(hosts)
        .default([], 'all but local ones'),
    )
    .addOption(
      option(
        '--allow-local',
        'pools may name a Redis on a loopback, link-local or metadata address too',
        'MILLRACE_ALLOW_LOCAL',
      ).default(false),
    )
    .addOption(
      option('--log-level <level>', 'how much to log', 'MILLRACE_LOG_LEVEL')
        .choices(logLevels)
        .default('info'),
    );
  withEnvironment(program, env).parse(argv);
  return program.opts<ControllerFlags>();
}
