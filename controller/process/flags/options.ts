/**
 * The options of the controller, by concern, each list in the order of `--help`. What they mean together is checked in `flags.ts`.
 */
import { InvalidArgumentError, type Option } from 'commander';
import { logLevelOption } from '../../../runtime/log-level.ts';
import { integer, option } from '../../../runtime/program.ts';
import { hostGuard } from '../../connect/allowed-hosts.ts';

/** Who may come to the dashboard: see dashboard/gate.ts. */
const dashboardAuths = ['kubernetes', 'token', 'none'] as const;
export type DashboardAuth = (typeof dashboardAuths)[number];
const metricsAuths = ['kubernetes', 'none'] as const;
export type MetricsAuth = (typeof metricsAuths)[number];

const list = (text: string, before: readonly string[]): string[] => [
  ...before,
  ...text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== ''),
];

function hosts(text: string, before: readonly string[]): string[] {
  const allowed = list(text, before);
  try {
    hostGuard({ allowed, allowLocal: false });
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
  return allowed;
}

/** What it manages, and which of several replicas does. */
const clusterOptions = (): Option[] => [
  option('--namespace <names>', 'namespaces to watch, comma-separated', 'MILLRACE_NAMESPACE')
    .argParser(list)
    .default([], 'all'),
  option(
    '--kubeconfig <path>',
    'kubeconfig, outside of a cluster (default: KUBECONFIG, or ~/.kube/config)',
    'MILLRACE_KUBECONFIG',
  ),
  option(
    '--leader-election',
    'elect a leader among several replicas of the controller',
    'MILLRACE_LEADER_ELECTION',
  ).default(false),
  option('--lease-name <name>', 'name of the Lease for leader election', 'MILLRACE_LEASE_NAME').default(
    'millrace-controller',
  ),
  option(
    '--lease-namespace <name>',
    "namespace of the Lease (default: the pod's)",
    'MILLRACE_LEASE_NAMESPACE',
  ),
  option('--http-port <port>', 'port of /healthz, /readyz and /metrics', 'MILLRACE_HTTP_PORT')
    .argParser(integer(0, 65_535))
    .default(8080),
  option(
    '--state-dir <path>',
    'folder that outlives the process, for state that its successor needs if it is killed',
    'MILLRACE_STATE_DIR',
  ),
];

/** The dashboard, and who may see and do what on it. */
const dashboardOptions = (): Option[] => [
  option('--dashboard', 'serve the dashboard at /dashboard/', 'MILLRACE_DASHBOARD').default(false),
  option(
    '--dashboard-show-tasks',
    'show tasks, their ids and their errors on the dashboard, to everyone who may see their pool',
    'MILLRACE_DASHBOARD_SHOW_TASKS',
  ).default(false),
  option(
    '--dashboard-auth <mode>',
    'kubernetes: users who may list pools see them, users who may patch them may act; token: everyone sees pools, holders of the token may act; none: everyone sees pools, no one may act (default: kubernetes, or token with --dashboard-token-file)',
    'MILLRACE_DASHBOARD_AUTH',
  ).choices(dashboardAuths),
  option(
    '--dashboard-token-file <path>',
    'file with the token whose holders may pause queues and move dead letters',
    'MILLRACE_DASHBOARD_TOKEN_FILE',
  ),
  option(
    '--dashboard-hosts <names>',
    "host names under which browsers may reach the dashboard, besides localhost and the pod's address, comma-separated; * for any",
    'MILLRACE_DASHBOARD_HOSTS',
  )
    .argParser(list)
    .default([], 'none'),
];

/** Who may read its metrics, and the certificate of its port. */
const servingOptions = (): Option[] => [
  option(
    '--metrics-auth <mode>',
    'kubernetes: /metrics is only for users who may get that path; none: for everyone',
    'MILLRACE_METRICS_AUTH',
  )
    .choices(metricsAuths)
    .default('none'),
  option(
    '--tls-cert-file <path>',
    'certificate (PEM) to serve everything over HTTPS; requires --tls-key-file',
    'MILLRACE_TLS_CERT_FILE',
  ),
  option('--tls-key-file <path>', 'private key of the certificate (PEM)', 'MILLRACE_TLS_KEY_FILE'),
];

/** The ports for other autoscalers, and their certificates. */
const externalOptions = (): Option[] => [
  option(
    '--external-metrics-port <port>',
    'serve external.metrics.k8s.io, for HorizontalPodAutoscalers, on this port; requires the two files below',
    'MILLRACE_EXTERNAL_METRICS_PORT',
  ).argParser(integer(0, 65_535)),
  option(
    '--external-metrics-tls-cert-file <path>',
    'certificate (PEM) for that port',
    'MILLRACE_EXTERNAL_METRICS_TLS_CERT_FILE',
  ),
  option(
    '--external-metrics-tls-key-file <path>',
    'private key of that certificate (PEM)',
    'MILLRACE_EXTERNAL_METRICS_TLS_KEY_FILE',
  ),
  option(
    '--keda-scaler-port <port>',
    "serve KEDA's external scaler (gRPC) on this port",
    'MILLRACE_KEDA_SCALER_PORT',
  ).argParser(integer(0, 65_535)),
  option(
    '--keda-scaler-tls-cert-file <path>',
    'certificate (PEM) to serve it over TLS; requires --keda-scaler-tls-key-file',
    'MILLRACE_KEDA_SCALER_TLS_CERT_FILE',
  ),
  option(
    '--keda-scaler-tls-key-file <path>',
    'private key of that certificate (PEM)',
    'MILLRACE_KEDA_SCALER_TLS_KEY_FILE',
  ),
  option(
    '--keda-scaler-client-ca-file <path>',
    'authority (PEM) of the certificates that its clients must show (default: clients need none)',
    'MILLRACE_KEDA_SCALER_CLIENT_CA_FILE',
  ),
];

/** Which Redis servers pools may name, and the log. */
const redisOptions = (): Option[] => [
  option(
    '--redis-allowed-hosts <hosts>',
    'the only Redis hosts that pools may name: names, *.suffixes, addresses and networks (10.1.0.0/16), comma-separated',
    'MILLRACE_REDIS_ALLOWED_HOSTS',
  )
    .argParser(hosts)
    .default([], 'all but local ones'),
  option(
    '--allow-local',
    'also allow pools to name a Redis on a loopback, link-local or metadata address',
    'MILLRACE_ALLOW_LOCAL',
  ).default(false),
  logLevelOption('info'),
];

/** All of them: new ones for each program, because commander changes them. */
export const controllerOptions = (): Option[] => [
  ...clusterOptions(),
  ...dashboardOptions(),
  ...servingOptions(),
  ...externalOptions(),
  ...redisOptions(),
];
