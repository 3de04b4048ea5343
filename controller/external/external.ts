/** The servers for other autoscalers that are enabled, and the pools that they answer for while this process leads. */
import type { Rights } from '../../kube/rights.ts';
import type { Transport } from '../../kube/transport.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { Logger } from '../../runtime/log.ts';
import type { TlsFiles } from '../../runtime/tls-files.ts';
import type { Observation } from '../observe/observation.ts';
import type { Sampled } from '../sample/sampled.ts';
import { readFrontProxy } from './front-proxy.ts';
import { createMeasures, type Measures } from './measures.ts';
import { openRelay } from './relay.ts';

export interface ExternalOptions {
  /** `external.metrics.k8s.io`, if enabled. */
  readonly metrics: { readonly port: number; readonly tls: TlsFiles } | undefined;
  /** KEDA's external scaler, if enabled. */
  readonly keda:
    | {
        readonly port: number;
        readonly tls?: TlsFiles | undefined;
        readonly clientCa?: string | undefined;
      }
    | undefined;
  readonly transport: Transport;
  readonly rights: Rights;
  /** Where the leader has the port of a server, if that is another process: `tcp://host:port`. */
  readonly leader: (service: ExternalService) => string | undefined;
  readonly log: Logger;
  /** ms of the clock of observations. */
  readonly elapsed: () => number;
}

const ExternalService = { Metrics: 'external-metrics', Keda: 'keda-scaler' } as const;
export type ExternalService = (typeof ExternalService)[keyof typeof ExternalService];

export interface ExternalSource {
  readonly pools: ReadonlyMap<string, WorkerPool>;
  readonly sampled: (key: string) => Sampled | undefined;
}

export interface AttachedExternal extends Disposable {
  /** The queues of a pool were read. */
  sampled(key: string): void;
  observed(key: string, observation: Observation): void;
}

export interface External extends AsyncDisposable {
  /** The ports on which it listens. */
  readonly ports: ReadonlyMap<ExternalService, number>;
  /** Answers for these pools until it is disposed. */
  attach(source: ExternalSource): AttachedExternal;
}

interface Part {
  /** Begins to answer for pools; returns what is to be told of changes. */
  begin(measures: Measures): (key: string) => void;
  end(): void;
}

/** Rejects if a port is unavailable or a certificate cannot be read. */
export async function openExternal(options: ExternalOptions): Promise<External> {
  await using stack = new AsyncDisposableStack();
  const ports = new Map<ExternalService, number>();
  const parts: Part[] = [];

  async function relayOf(service: ExternalService, port: number): ReturnType<typeof openRelay> {
    const leader = (): string | undefined => options.leader(service);
    const relay = stack.use(await openRelay({ port, flag: `--${service}-port`, leader }));
    ports.set(service, relay.port);
    return relay;
  }

  const { metrics, keda, transport, rights, log } = options;
  if (metrics) {
    const { openMetricsServer } = await import('./metrics-server.ts');
    const frontProxy = (): ReturnType<typeof readFrontProxy> => readFrontProxy(transport);
    const server = stack.use(await openMetricsServer({ tls: metrics.tls, frontProxy, rights, log }));
    const relay = await relayOf(ExternalService.Metrics, metrics.port);
    parts.push({
      begin: (measures) => {
        server.answerFrom(measures);
        relay.answerBy((socket) => server.serve(socket));
        return () => undefined;
      },
      end: () => {
        server.answerFrom(undefined);
        relay.answerBy(undefined);
      },
    });
  }
  if (keda) {
    // gRPC takes 7 MB, and time at the start: only where it is used
    const { openKedaServer } = await import('./keda-server.ts');
    const { createKedaScaler } = await import('./keda-scaler.ts');
    const server = stack.use(await openKedaServer({ tls: keda.tls, clientCa: keda.clientCa, log }));
    const relay = await relayOf(ExternalService.Keda, keda.port);
    parts.push({
      begin: (measures) => {
        const scaler = createKedaScaler(measures);
        server.answerBy(scaler);
        relay.answerBy((socket) => server.serve(socket));
        return (key) => scaler.changed(key);
      },
      end: () => {
        server.answerBy(undefined);
        relay.answerBy(undefined);
      },
    });
  }
  const opened = stack.move();
  return {
    ports,
    attach: (source) => attach(source, parts, options.elapsed),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

function attach(
  { pools, sampled }: ExternalSource,
  parts: readonly Part[],
  elapsed: () => number,
): AttachedExternal {
  const observations = new Map<string, Observation>();
  const measures = createMeasures({ pools, sampled, latest: (key) => observations.get(key), elapsed });
  const changes = parts.map((part) => part.begin(measures));
  const changed = (key: string): void => {
    for (const change of changes) change(key);
  };
  return {
    sampled: changed,
    observed: (key, observation) => {
      // nobody says when a pool is deleted
      if (observations.size > 2 * pools.size + 100)
        for (const known of observations.keys()) if (!pools.has(known)) observations.delete(known);
      observations.set(key, observation);
      changed(key);
    },
    [Symbol.dispose]: () => {
      for (const part of parts) part.end();
    },
  };
}
