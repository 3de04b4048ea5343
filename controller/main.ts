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
import { createRights } from '../kube/rights.ts';
import { createTransport } from '../kube/transport.ts';
import { systemClock } from '../runtime/clock.ts';
import { serveHttp } from '../runtime/http.ts';
import { onSignals } from '../runtime/lifecycle.ts';
import { LogEvent } from '../runtime/log-event.ts';
import { createLog, rethrow, type Logger } from '../runtime/log.ts';
import { runProgram } from '../runtime/program.ts';
import type { TlsFiles } from '../runtime/tls-files.ts';
import { version } from '../runtime/version.ts';
import { runController, type ControllerOptions } from './reconcile/controller.ts';
import type { Leader } from './dashboard/forward.ts';
import { openDashboard } from './dashboard/open-dashboard.ts';
import { leaderAddress, leaderNote } from './dashboard/leader.ts';
import { refusesMetrics } from './dashboard/gate.ts';
import { createStrikes } from './dashboard/strikes.ts';
import { openExternal, type External, type ExternalOptions } from './external/external.ts';
import { openJournal, poolsIn, type Journal } from './process/journal.ts';
import { parseFlags, type ControllerFlags } from './process/flags/flags.ts';
import { createControllerMetrics, type ControllerGauges } from './observe/metrics.ts';
import { openQuarantine } from './process/quarantine.ts';
import { hostGuard } from './connect/allowed-hosts.ts';
import { createWatchdog, type Watchdog } from './process/watchdog.ts';

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
  using journal = openJournal(flags.stateDir, exitWhenBlocked(log));
  logUncaught(journal, log);
  const lease = {
    namespace: flags.leaseNamespace ?? connection.namespace ?? 'default',
    name: flags.leaseName,
  };
  const now = (): number => systemClock.now();
  const quarantine = await openQuarantine({
    api,
    lease: flags.leaderElection ? lease : undefined,
    folder: flags.stateDir,
    left: journal.left,
    now,
    log,
  });

  const instance = process.env['POD_NAME'] ?? hostname();
  const self = { identity: `${instance}_${randomUUID()}`, podIp: process.env['POD_IP'] };
  const leadership = createLeadership(self.identity);
  const metrics = createControllerMetrics(leadership.gauges);
  const monotonic = (): number => performance.now();
  const strikes = createStrikes({ log, counted: (kind) => metrics.refused(kind), now: monotonic });
  const rights = createRights(transport, monotonic);
  let certificate = (): Buffer | undefined => undefined;
  const leader = (): Leader | undefined => {
    const address = leadership.addressOf();
    return address === undefined ? undefined : { address, certificate: certificate() };
  };
  const { podIp } = self;
  const dashboard = await openDashboard(flags, { version, podIp, rights, strikes, leader, log, now });
  const tls = filesOf(flags.tlsCertFile, flags.tlsKeyFile);
  await using http = await serveHttp({
    port: flags.httpPort,
    metrics,
    tls,
    refusesMetrics:
      flags.metricsAuth === 'kubernetes' ? (request) => refusesMetrics(rights, strikes, request) : undefined,
    unhealthy: () => undefined,
    unready: () => (leadership.isKnown ? undefined : 'the API server has not been reached yet'),
    route: dashboard?.route,
  });
  certificate = () => http.certificate;
  await using external = await externalOf(flags, { transport, rights, log, leader: leadership.addressOf });

  const guard = hostGuard({
    allowed: flags.redisAllowedHosts,
    allowLocal: flags.allowLocal,
    refused: [new URL(connection.server).hostname.replaceAll(/[[\]]/g, '')],
  });
  const { namespace: namespaces } = flags;
  const shared = { api, namespaces, instance, metrics, guard, dashboard, external, clock: systemClock, log };
  const control = (leading: AbortSignal): Promise<void> =>
    controlWhile(leading, { ...shared, journal, quarantine, publish: leadership.publish });

  // awaited, as otherwise everything declared with `using` here would be disposed before the work began
  if (!flags.leaderElection) return await alone(control, signals.stopping).catch(rethrow(log));
  const notes = {
    ...(dashboard ? leaderNote(self.identity, podIp, http.port, tls ? 'https' : 'http') : {}),
    ...externalNotes(external, self.identity, podIp),
  };
  await lead(
    {
      api,
      lease,
      identity: self.identity,
      annotations: (found) => ({ ...notes, ...quarantine.annotations(found) }),
      onAnnotations: (found) => quarantine.update(found),
      signal: signals.stopping,
      onHolder: (name, annotations) => {
        leadership.holder(name, annotations);
        log.info({ holder: name }, name ? 'the lease has a holder' : 'the lease has no holder');
      },
      onError: (error) => log.warn({ err: error }, 'failed to acquire the leader lease; retrying'),
    },
    control,
  ).catch(rethrow(log));
}

/** Who leads, as far as this process knows, and what it measures while it is the one. */
interface Leadership {
  /** Those of the controller that runs, or of none. */
  readonly gauges: ControllerGauges;
  /** Whether the API server has been reached: there is a holder, or this process works without one. */
  readonly isKnown: boolean;
  publish(this: void, now: ControllerGauges): void;
  holder(name: string | undefined, annotations: Readonly<Record<string, string>>): void;
  /** Where the leader is, if that is another process, or where it has the port of this service. */
  addressOf(this: void, service?: string): string | undefined;
}

function createLeadership(identity: string): Leadership {
  let gauges: ControllerGauges = { workqueueDepth: () => 0, redisServers: () => 0, watches: () => ({}) };
  let holder: string | undefined;
  /** The annotations of the lease, if another process has it. */
  let notes: Readonly<Record<string, string>> = {};
  return {
    gauges: {
      workqueueDepth: () => gauges.workqueueDepth(),
      redisServers: () => gauges.redisServers(),
      watches: () => gauges.watches(),
    },
    get isKnown() {
      return holder !== undefined;
    },
    publish: (now) => {
      gauges = now;
      holder ??= identity;
    },
    holder: (name, annotations) => {
      holder = name;
      notes = name === identity ? {} : annotations;
    },
    addressOf: (service) => leaderAddress(holder ?? '', notes, service),
  };
}

/** Runs the controller for as long as this process leads. */
async function controlWhile(leading: AbortSignal, options: ControllerOptions): Promise<void> {
  const { metrics, namespaces, log } = options;
  metrics.leading(true);
  log.info({ event: LogEvent.Leading, version, namespaces }, 'leading');
  try {
    await runController(options, leading);
  } finally {
    metrics.leading(false);
    log.info({ event: LogEvent.NotLeading }, 'no longer leading');
  }
}

function exitWhenBlocked(log: Logger): Watchdog {
  return createWatchdog({
    onTimeout: (pool, afterMs) =>
      log.fatal(
        { pools: [pool] },
        `the event loop has been blocked for ${afterMs / 1e3} s; exiting, to be restarted`,
      ),
  });
}

const filesOf = (cert: string | undefined, key: string | undefined): TlsFiles | undefined =>
  cert === undefined || key === undefined ? undefined : { cert, key };

async function externalOf(
  flags: ControllerFlags,
  shared: Pick<ExternalOptions, 'transport' | 'rights' | 'log' | 'leader'>,
): Promise<External | undefined> {
  const { externalMetricsPort: metricsPort, kedaScalerPort: kedaPort } = flags;
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
