/** The flags of the controller, and the environment variables behind them. */
import type { LogLevel } from '../../../runtime/log-level.ts';
import { createProgram, UsageError, withEnvironment } from '../../../runtime/program.ts';
import { version } from '../../../runtime/version.ts';
import { controllerOptions, type DashboardAuth, type MetricsAuth } from './options.ts';

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
  const program = createProgram('millrace-controller', version).description(
    'Scales WorkerPools by the length of their Redis queues.',
  );
  for (const option of controllerOptions()) program.addOption(option);
  withEnvironment(program, env).parse(argv);
  const flags = program.opts<ControllerFlags>();
  checkServing(flags);
  checkExternal(flags);
  return flags;
}

function checkServing(flags: ControllerFlags): void {
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
