/** The flags of the controller, and the environment variables behind them. */
import { InvalidArgumentError } from 'commander';
import { logLevelOption, type LogLevel } from '../../runtime/log-level.ts';
import { createProgram, integer, option, UsageError, withEnvironment } from '../../runtime/program.ts';
import { version } from '../../runtime/version.ts';
import { hostGuard } from '../connect/allowed-hosts.ts';

/** Who may come to the dashboard: see dashboard/gate.ts. */
const dashboardAuths = ['kubernetes', 'token', 'none'] as const;
type DashboardAuth = (typeof dashboardAuths)[number];
const metricsAuths = ['kubernetes', 'none'] as const;
type MetricsAuth = (typeof metricsAuths)[number];

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
  readonly dashboardAuth?: DashboardAuth;
  readonly dashboardTokenFile?: string;
  readonly dashboardHosts: readonly string[];
  readonly metricsAuth: MetricsAuth;
  readonly tlsCertFile?: string;
  readonly tlsKeyFile?: string;
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
      option('--namespace <names>', 'namespaces to watch, comma-separated', 'MILLRACE_NAMESPACE')
        .argParser(list)
        .default([], 'all'),
    )
    .addOption(
      option(
        '--kubeconfig <path>',
        'kubeconfig, outside of a cluster (default: KUBECONFIG, or ~/.kube/config)',
        'MILLRACE_KUBECONFIG',
      ),
    )
    .addOption(
      option(
        '--leader-election',
        'elect a leader among several replicas of the controller',
        'MILLRACE_LEADER_ELECTION',
      ).default(false),
    )
    .addOption(
      option('--lease-name <name>', 'name of the Lease for leader election', 'MILLRACE_LEASE_NAME').default(
        'millrace-controller',
      ),
    )
    .addOption(
      option(
        '--lease-namespace <name>',
        "namespace of the Lease (default: the pod's)",
        'MILLRACE_LEASE_NAMESPACE',
      ),
    )
    .addOption(
      option('--http-port <port>', 'port of /healthz, /readyz and /metrics', 'MILLRACE_HTTP_PORT')
        .argParser(integer(0, 65_535))
        .default(8080),
    )
    .addOption(
      option(
        '--state-dir <path>',
        'folder that outlives the process, for state that its successor needs if it is killed',
        'MILLRACE_STATE_DIR',
      ),
    )
    .addOption(
      option('--dashboard', 'serve the dashboard at /dashboard/', 'MILLRACE_DASHBOARD').default(false),
    )
    .addOption(
      option(
        '--dashboard-show-tasks',
        'show tasks, their ids and their errors on the dashboard, to everyone who may see their pool',
        'MILLRACE_DASHBOARD_SHOW_TASKS',
      ).default(false),
    )
    .addOption(
      option(
        '--dashboard-auth <mode>',
        'kubernetes: users who may list pools see them, users who may patch them may act; token: everyone sees pools, holders of the token may act; none: everyone sees pools, no one may act (default: kubernetes, or token with --dashboard-token-file)',
        'MILLRACE_DASHBOARD_AUTH',
      ).choices(dashboardAuths),
    )
    .addOption(
      option(
        '--dashboard-token-file <path>',
        'file with the token whose holders may pause queues and move dead letters',
        'MILLRACE_DASHBOARD_TOKEN_FILE',
      ),
    )
    .addOption(
      option(
        '--dashboard-hosts <names>',
        "host names under which browsers may reach the dashboard, besides localhost and the pod's address, comma-separated; * for any",
        'MILLRACE_DASHBOARD_HOSTS',
      )
        .argParser(list)
        .default([], 'none'),
    )
    .addOption(
      option(
        '--metrics-auth <mode>',
        'kubernetes: /metrics is only for users who may get that path; none: for everyone',
        'MILLRACE_METRICS_AUTH',
      )
        .choices(metricsAuths)
        .default('none'),
    )
    .addOption(
      option(
        '--tls-cert-file <path>',
        'certificate (PEM) to serve everything over HTTPS; requires --tls-key-file',
        'MILLRACE_TLS_CERT_FILE',
      ),
    )
    .addOption(
      option('--tls-key-file <path>', 'private key of the certificate (PEM)', 'MILLRACE_TLS_KEY_FILE'),
    )
    .addOption(
      option(
        '--redis-allowed-hosts <hosts>',
        'the only Redis hosts that pools may name: names, *.suffixes, addresses and networks (10.1.0.0/16), comma-separated',
        'MILLRACE_REDIS_ALLOWED_HOSTS',
      )
        .argParser(hosts)
        .default([], 'all but local ones'),
    )
    .addOption(
      option(
        '--allow-local',
        'also allow pools to name a Redis on a loopback, link-local or metadata address',
        'MILLRACE_ALLOW_LOCAL',
      ).default(false),
    )
    .addOption(logLevelOption('info'));
  withEnvironment(program, env).parse(argv);
  const flags = program.opts<ControllerFlags>();
  if (flags.dashboardAuth === 'token' && flags.dashboardTokenFile === undefined)
    throw new UsageError('--dashboard-auth token needs --dashboard-token-file');
  if (
    flags.dashboardAuth !== undefined &&
    flags.dashboardAuth !== 'token' &&
    flags.dashboardTokenFile !== undefined
  )
    throw new UsageError(
      `--dashboard-token-file has no meaning with --dashboard-auth ${flags.dashboardAuth}`,
    );
  if ((flags.tlsCertFile === undefined) !== (flags.tlsKeyFile === undefined))
    throw new UsageError('--tls-cert-file and --tls-key-file go together');
  return flags;
}
