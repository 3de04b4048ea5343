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
import { createLog } from '../runtime/log.ts';
import { runProgram } from '../runtime/program.ts';
import { version } from '../runtime/version.ts';
import { runController } from './controller.ts';
import { createDashboard } from './dashboard/dashboard.ts';
import { leaderAddress, leaderNote } from './dashboard/leader.ts';
import { tokenFile } from './dashboard/token.ts';
import { parseFlags } from './flags.ts';
import { createControllerMetrics, type ControllerGauges } from './metrics.ts';
import { hostGuard } from './redis-hosts.ts';

async function connect(kubeconfig: string | undefined): Promise<Connection> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
  if (host && port && !kubeconfig) return inCluster({ host, port });
  // reading kubeconfigs takes a library that a pod has no use for: tens of MB and of ms
  const { fromKubeconfig } = await import('../kube/kubeconfig.ts');
  return fromKubeconfig(kubeconfig);
}

async function main(): Promise<void> {
  const flags = parseFlags(process.argv, process.env);
  const log = createLog('millrace-controller', flags.logLevel);
  using signals = onSignals();
  const connection = await connect(flags.kubeconfig);
  using transport = createTransport(connection);
  const api = createKubeApi(transport);
  const instance = process.env['POD_NAME'] ?? hostname();
  const guard = hostGuard({
    allowed: flags.redisAllowedHosts,
    allowLocal: flags.allowLocal,
    refused: [new URL(connection.server).hostname.replaceAll(/[[\]]/g, '')],
  });

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
      await runController(
        { api, namespaces, instance, metrics, publish, guard, dashboard, clock, log },
        leading,
      );
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
