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
  readonly externalMetricsPort?: number;
  readonly externalMetricsTlsCertFile?: string;
  readonly externalMetricsTlsKeyFile?: string;
  readonly kedaScalerPort?: number;
  readonly kedaScalerTlsCertFile?: string;
  readonly kedaScalerTlsKeyFile?: string;
  readonly kedaScalerClientCaFile?: string;
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
        '--external-metrics-port <port>',
        'serve external.metrics.k8s.io, for HorizontalPodAutoscalers, on this port; requires the two files below',
        'MILLRACE_EXTERNAL_METRICS_PORT',
      ).argParser(integer(0, 65_535)),
    )
    .addOption(
      option(
        '--external-metrics-tls-cert-file <path>',
        'certificate (PEM) for that port',
        'MILLRACE_EXTERNAL_METRICS_TLS_CERT_FILE',
      ),
    )
    .addOption(
      option(
        '--external-metrics-tls-key-file <path>',
        'private key of that certificate (PEM)',
        'MILLRACE_EXTERNAL_METRICS_TLS_KEY_FILE',
      ),
    )
    .addOption(
      option(
        '--keda-scaler-port <port>',
        "serve KEDA's external scaler (gRPC) on this port",
        'MILLRACE_KEDA_SCALER_PORT',
      ).argParser(integer(0, 65_535)),
    )
    .addOption(
      option(
        '--keda-scaler-tls-cert-file <path>',
        'certificate (PEM) to serve it over TLS; requires --keda-scaler-tls-key-file',
        'MILLRACE_KEDA_SCALER_TLS_CERT_FILE',
      ),
    )
    .addOption(
      option(
        '--keda-scaler-tls-key-file <path>',
        'private key of that certificate (PEM)',
        'MILLRACE_KEDA_SCALER_TLS_KEY_FILE',
      ),
    )
    .addOption(
      option(
        '--keda-scaler-client-ca-file <path>',
        'authority (PEM) of the certificates that its clients must show (default: clients need none)',
        'MILLRACE_KEDA_SCALER_CLIENT_CA_FILE',
      ),
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
  checkExternal(flags);
  return flags;
}

function checkExternal(flags: ControllerFlags): void {
  const { externalMetricsTlsCertFile: cert, externalMetricsTlsKeyFile: key, kedaScalerTlsCertFile } = flags;
  const both = cert !== undefined && key !== undefined;
  if (flags.externalMetricsPort !== undefined && !both)
    throw new UsageError(
      '--external-metrics-port needs --external-metrics-tls-cert-file and --external-metrics-tls-key-file: the API server connects by HTTPS only',
    );
  if ((kedaScalerTlsCertFile === undefined) !== (flags.kedaScalerTlsKeyFile === undefined))
    throw new UsageError('--keda-scaler-tls-cert-file and --keda-scaler-tls-key-file go together');
  if (flags.kedaScalerClientCaFile !== undefined && kedaScalerTlsCertFile === undefined)
    throw new UsageError('--keda-scaler-client-ca-file needs --keda-scaler-tls-cert-file');
}
