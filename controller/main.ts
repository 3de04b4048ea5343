#!/usr/bin/env node
/**
 * `controller/`: the program: it takes flags and a cluster, leads or waits, and runs one reconcile per pool at a time. How a
 * pool is brought to its spec is the business of the stages below; this level knows only their order.
 *
 * `millrace-controller`: scales WorkerPools by the length of their queues. One of its replicas leads, the others wait.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { createKubeApi } from '../kube/client.ts';
import { inCluster, type Connection } from '../kube/connection.ts';
import { lead } from '../kube/leader.ts';
import { createRights, type Rights } from '../kube/rights.ts';
import { createTransport } from '../kube/transport.ts';
import { systemClock } from '../runtime/clock.ts';
import { serveHttp } from '../runtime/http.ts';
import { onSignals } from '../runtime/lifecycle.ts';
import { LogEvent } from '../runtime/log-event.ts';
import { createLog, rethrow, type Logger } from '../runtime/log.ts';
import { runProgram } from '../runtime/program.ts';
import type { TlsFiles } from '../runtime/tls-files.ts';
import { version } from '../runtime/version.ts';
import { runController } from './reconcile/controller.ts';
import { createDashboard } from './dashboard/dashboard.ts';
import { leaderAddress, leaderNote } from './dashboard/leader.ts';
import { openGate, refusesMetrics, rightsGate, type Gate } from './dashboard/gate.ts';
import { createStrikes, type Strikes } from './dashboard/strikes.ts';
import { openExternal, type External, type ExternalOptions } from './external/external.ts';
import { tokenFile } from './dashboard/token.ts';
import { openJournal, poolsIn, type Journal } from './process/journal.ts';
import { parseFlags, type ControllerFlags } from './process/flags.ts';
import { createControllerMetrics, type ControllerGauges } from './observe/metrics.ts';
import { openQuarantine } from './process/quarantine.ts';
import { hostGuard } from './connect/allowed-hosts.ts';
import { createWatchdog } from './process/watchdog.ts';

async function connectToCluster(kubeconfig: string | undefined): Promise<Connection> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
  if (host && port && !kubeconfig) return inCluster({ host, port });
  // reading kubeconfigs takes a library that a pod does not need: tens of MB and of ms
  const { fromKubeconfig } = await import('../kube/kubeconfig.ts');
  return fromKubeconfig(kubeconfig);
}

async function main(): Promise<void> {
  const flags = parseFlags(process.argv, process.env);
  const log = createLog('millrace-controller', flags.logLevel);
  using signals = onSignals();
  const connection = await connectToCluster(flags.kubeconfig);
  using transport = createTransport(connection);
  const api = createKubeApi(transport);
  const instance = process.env['POD_NAME'] ?? hostname();
  const guard = hostGuard({
    allowed: flags.redisAllowedHosts,
    allowLocal: flags.allowLocal,
    refused: [new URL(connection.server).hostname.replaceAll(/[[\]]/g, '')],
  });
  const watchdog = createWatchdog({
    onTimeout: (pool, afterMs) =>
      log.fatal(
        { pools: [pool] },
        `the event loop has been blocked for ${afterMs / 1e3} s; exiting, to be restarted`,
      ),
  });
  using journal = openJournal(flags.stateDir, watchdog);
  logUncaught(journal, log);
  const lease = {
    namespace: flags.leaseNamespace ?? connection.namespace ?? 'default',
    name: flags.leaseName,
  };
  const quarantine = await openQuarantine({
    api,
    lease: flags.leaderElection ? lease : undefined,
    folder: flags.stateDir,
    left: journal.left,
    now: () => systemClock.now(),
    log,
  });

  let gauges: ControllerGauges = { workqueueDepth: () => 0, redisServers: () => 0, watches: () => ({}) };
  const metrics = createControllerMetrics({
    workqueueDepth: () => gauges.workqueueDepth(),
    redisServers: () => gauges.redisServers(),
    watches: () => gauges.watches(),
  });
  let holder: string | undefined;
  /** The annotations of the lease, if another process has it. */
  let leader: Readonly<Record<string, string>> = {};
  const monotonic = (): number => performance.now();
  const strikes = createStrikes({ log, counted: (kind) => metrics.refused(kind), now: monotonic });
  const rights = createRights(transport, monotonic);
  const podIp = process.env['POD_IP'];
  const identity = `${instance}_${randomUUID()}`;
  const leaderOf = (service?: string): string | undefined => leaderAddress(holder ?? '', leader, service);
  const tls =
    flags.tlsCertFile !== undefined && flags.tlsKeyFile !== undefined
      ? { cert: flags.tlsCertFile, key: flags.tlsKeyFile }
      : undefined;
  let certificate = (): Buffer | undefined => undefined;
  const dashboard = flags.dashboard
    ? createDashboard({
        version,
        host: 'controller',
        showTasks: flags.dashboardShowTasks,
        gate: await gateOf(flags, rights, strikes),
        hostnames: hostnames(podIp, flags.dashboardHosts),
        leader: () => {
          const address = leaderOf();
          return address === undefined ? undefined : { address, certificate: certificate() };
        },
        log,
        now: () => systemClock.now(),
      })
    : undefined;
  await using http = await serveHttp({
    port: flags.httpPort,
    metrics,
    tls,
    refusesMetrics:
      flags.metricsAuth === 'kubernetes' ? (request) => refusesMetrics(rights, strikes, request) : undefined,
    unhealthy: () => undefined,
    unready: () => (holder === undefined ? 'the API server has not been reached yet' : undefined),
    route: dashboard?.route,
  });
  certificate = () => http.certificate;
  await using external = await externalOf(flags, { transport, rights, log, leader: leaderOf });

  const control = async (leading: AbortSignal): Promise<void> => {
    metrics.leading(true);
    log.info({ event: LogEvent.Leading, version, namespaces: flags.namespace }, 'leading');
    const publish = (now: ControllerGauges): void => {
      gauges = now;
      holder ??= instance;
    };
    try {
      const { namespace: namespaces } = flags;
      const clock = systemClock;
      const shared = { api, namespaces, instance, metrics, publish, guard, dashboard, external, clock, log };
      await runController({ ...shared, journal, quarantine }, leading);
    } finally {
      metrics.leading(false);
      log.info({ event: LogEvent.NotLeading }, 'no longer leading');
    }
  };

  // awaited, as otherwise everything declared with `using` here would be disposed before the work began
  if (!flags.leaderElection) return await alone(control, signals.stopping).catch(rethrow(log));
  await lead(
    {
      api,
      lease,
      identity,
      annotations: (found) => ({
        ...(dashboard ? leaderNote(identity, podIp, http.port, tls ? 'https' : 'http') : {}),
        ...externalNotes(external, identity, podIp),
        ...quarantine.annotations(found),
      }),
      onAnnotations: (found) => quarantine.update(found),
      signal: signals.stopping,
      onHolder: (name, annotations) => {
        holder = name;
        leader = name === identity ? {} : annotations;
        log.info({ holder: name }, name ? 'the lease has a holder' : 'the lease has no holder');
      },
      onError: (error) => log.warn({ err: error }, 'failed to acquire the leader lease; retrying'),
    },
    control,
  ).catch(rethrow(log));
}

async function gateOf(flags: ControllerFlags, rights: Rights, strikes: Strikes): Promise<Gate> {
  if (flags.dashboardTokenFile !== undefined)
    return openGate(await tokenFile(flags.dashboardTokenFile), strikes);
  return flags.dashboardAuth === 'none' ? openGate(undefined, strikes) : rightsGate(rights, strikes);
}

async function externalOf(
  flags: ControllerFlags,
  shared: Pick<ExternalOptions, 'transport' | 'rights' | 'log' | 'leader'>,
): Promise<External | undefined> {
  const { externalMetricsPort: metricsPort, kedaScalerPort: kedaPort } = flags;
  const filesOf = (cert: string | undefined, key: string | undefined): TlsFiles | undefined =>
    cert === undefined || key === undefined ? undefined : { cert, key };
  const metricsTls = filesOf(flags.externalMetricsTlsCertFile, flags.externalMetricsTlsKeyFile);
  const metrics =
    metricsPort !== undefined && metricsTls ? { port: metricsPort, tls: metricsTls } : undefined;
  const tls = filesOf(flags.kedaScalerTlsCertFile, flags.kedaScalerTlsKeyFile);
  const keda =
    kedaPort === undefined ? undefined : { port: kedaPort, tls, clientCa: flags.kedaScalerClientCaFile };
  if (!metrics && !keda) return undefined;
  return openExternal({ ...shared, metrics, keda, elapsed: () => systemClock.elapsed() });
}

/** Where a standby passes connections on to. */
function externalNotes(
  external: External | undefined,
  identity: string,
  podIp: string | undefined,
): Record<string, string> {
  const notes = [...(external?.ports ?? [])].map(([service, port]) =>
    leaderNote(identity, podIp, port, 'tcp', service),
  );
  return Object.assign({}, ...notes) as Record<string, string>;
}

/** Host names under which browsers may reach the dashboard: this machine, as through a port-forward, the pod, and those given. */
function hostnames(podIp: string | undefined, given: readonly string[]): string[] {
  const pod = podIp === undefined ? [] : [podIp.includes(':') ? `[${podIp}]` : podIp];
  return ['localhost', '127.0.0.1', '[::1]', ...pod, ...given.map((name) => name.toLowerCase())];
}

/** Leads without an election. Resolves when the signal aborts, as `lead` does. */
async function alone(control: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
  await control(signal).catch((error: unknown) => {
    if (!signal.aborted || error !== signal.reason) throw error;
  });
}

/** An uncaught exception is treated as a crash: the journal stays, and the next process reads it. */
function logUncaught(journal: Journal, log: Logger): void {
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error, pools: poolsIn(journal.slots) }, 'uncaught exception; exiting');
    process.exit(1);
  });
}

await runProgram('millrace-controller', main);
process.exit();
