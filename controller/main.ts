#!/usr/bin/env node
/** `millrace-controller`: scales WorkerPools by the length of their queues. One of its replicas leads, the others wait. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { createKubeApi } from '../kube/client.ts';
import { inCluster, type Connection } from '../kube/connection.ts';
import { lead } from '../kube/leader.ts';
import { createTransport } from '../kube/transport.ts';
import { systemClock } from '../runtime/clock.ts';
import { serveHttp } from '../runtime/http.ts';
import { onSignals } from '../runtime/lifecycle.ts';
import { createLog, logLevels, type LogLevel } from '../runtime/log.ts';
import { createProgram, integer, option, runProgram, withEnvironment } from '../runtime/program.ts';
import { version } from '../runtime/version.ts';
import { runController } from './controller.ts';
import { createDashboard } from './dashboard/dashboard.ts';
import { leaderAddress, leaderNote } from './dashboard/leader.ts';
import { tokenFile } from './dashboard/token.ts';
import { createControllerMetrics, type ControllerGauges } from './metrics.ts';

interface Flags {
  readonly namespace: readonly string[];
  readonly kubeconfig?: string;
  readonly leaderElection: boolean;
  readonly leaseName: string;
  readonly leaseNamespace?: string;
  readonly httpPort: number;
  readonly dashboard: boolean;
  readonly dashboardShowTasks: boolean;
  readonly dashboardTokenFile?: string;
  readonly logLevel: LogLevel;
}

function parse(argv: readonly string[]): Flags {
  const list = (text: string, before: readonly string[]): string[] => [
    ...before,
    ...text
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  ];
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
      option('--log-level <level>', 'how much to log', 'MILLRACE_LOG_LEVEL')
        .choices(logLevels)
        .default('info'),
    );
  withEnvironment(program, process.env).parse(argv);
  return program.opts<Flags>();
}

async function connect(kubeconfig: string | undefined): Promise<Connection> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
  if (host && port && !kubeconfig) return inCluster({ host, port });
  // reading kubeconfigs takes a library that a pod has no use for: tens of MB and of ms
  const { fromKubeconfig } = await import('../kube/kubeconfig.ts');
  return fromKubeconfig(kubeconfig);
}

async function main(): Promise<void> {
  const flags = parse(process.argv);
  const log = createLog('millrace-controller', flags.logLevel);
  using signals = onSignals();
  const connection = await connect(flags.kubeconfig);
  using transport = createTransport(connection);
  const api = createKubeApi(transport);
  const instance = process.env['POD_NAME'] ?? hostname();

  let gauges: ControllerGauges = { workqueueDepth: () => 0, redisServers: () => 0, watches: () => ({}) };
  const metrics = createControllerMetrics({
    workqueueDepth: () => gauges.workqueueDepth(),
    redisServers: () => gauges.redisServers(),
    watches: () => gauges.watches(),
  });
  let holder: string | undefined;
  let leader: string | undefined;
  const token =
    flags.dashboardTokenFile === undefined ? undefined : await tokenFile(flags.dashboardTokenFile);
  const dashboard = flags.dashboard
    ? createDashboard({
        version,
        host: 'controller',
        showTasks: flags.dashboardShowTasks,
        token,
        leader: () => leader,
        log,
        now: () => systemClock.now(),
      })
    : undefined;
  await using http = await serveHttp({
    port: flags.httpPort,
    metrics,
    unhealthy: () => undefined,
    unready: () => (holder === undefined ? 'the API server was not reached yet' : undefined),
    route: dashboard?.route,
  });

  const control = async (leading: AbortSignal): Promise<void> => {
    metrics.leading(true);
    log.info({ version, namespaces: flags.namespace }, 'leading');
    const publish = (now: ControllerGauges): void => {
      gauges = now;
      holder ??= instance;
    };
    try {
      const { namespace: namespaces } = flags;
      const clock = systemClock;
      await runController({ api, namespaces, instance, metrics, publish, dashboard, clock, log }, leading);
    } finally {
      metrics.leading(false);
      log.info('not leading any more');
    }
  };

  // awaited, or all that is `using` here would be gone before the work began
  if (!flags.leaderElection) return await alone(control, signals.stopping);
  const identity = `${instance}_${randomUUID()}`;
  await lead(
    {
      api,
      lease: { namespace: flags.leaseNamespace ?? connection.namespace ?? 'default', name: flags.leaseName },
      identity,
      annotations: dashboard ? leaderNote(identity, process.env['POD_IP'], http.port) : {},
      signal: signals.stopping,
      onHolder: (name, annotations) => {
        holder = name;
        leader = leaderAddress(name, annotations);
        log.info({ holder: name }, name ? 'the lease has a holder' : 'nobody holds the lease');
      },
      onError: (error) =>
        log.warn({ error: (error as Error).message }, 'the lease could not be had; it is tried again'),
    },
    control,
  );
}

/** Leads without asking anybody. To be told to stop is a way to end, as in `lead`. */
async function alone(control: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
  await control(signal).catch((error: unknown) => {
    if (!signal.aborted || error !== signal.reason) throw error;
  });
}

await runProgram('millrace-controller', main);
process.exit();
