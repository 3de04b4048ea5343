/**
 * gRPC in front of KEDA's external scaler, with TLS if there is a certificate, and for clients of one authority alone if there is
 * one. It listens on no port itself: connections are given to it (relay.ts).
 */
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import {
  Server,
  ServerCredentials,
  type ConnectionInjector,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import type { Logger } from '../../runtime/log.ts';
import { interval } from '../../runtime/timers.ts';
import { readTls, type TlsFiles } from '../../runtime/tls-files.ts';
import { Code, ScalerError, type KedaScaler } from './keda-scaler.ts';
import { kedaService, type GetMetricsRequest, type ScaledObjectRef } from './keda-service.ts';

export interface KedaServerOptions {
  readonly tls?: TlsFiles | undefined;
  /** PEM of the authority whose certificates clients must show. Only with `tls`. */
  readonly clientCa?: string | undefined;
  readonly log: Logger;
}

export interface KedaServer extends Disposable {
  /** Asks this scaler from now on. Streams that there are end, which KEDA takes for a reason to begin new ones. */
  answerBy(scaler: KedaScaler | undefined): void;
  /** Takes over a connection. */
  serve(socket: Socket): void;
}

const READ_AGAIN_MS = 60_000;
const DRAIN_MS = 1_000;
/** Of a request, bytes: the metadata of a trigger are short. */
const LONGEST_REQUEST = 64 * 1_024;

/** Rejects if the certificate cannot be read. */
export async function openKedaServer(options: KedaServerOptions): Promise<KedaServer> {
  const { log } = options;
  let scaler: KedaScaler | undefined;
  const streams = new Set<ServerWritableStream<ScaledObjectRef, object>>();

  function current(): KedaScaler {
    if (scaler) return scaler;
    throw new ScalerError(Code.Unavailable, 'no controller leads right now: one takes over within seconds');
  }

  /** A method that answers once. */
  const unary =
    <Request>(answer: (scaler: KedaScaler, request: Request) => object) =>
    (call: ServerUnaryCall<Request, object>, callback: sendUnaryData<object>): void => {
      let found: object;
      try {
        found = answer(current(), call.request);
      } catch (error) {
        if (!(error instanceof ScalerError)) throw error;
        return callback(error);
      }
      callback(null, found);
    };

  function stream(call: ServerWritableStream<ScaledObjectRef, object>): void {
    try {
      const end = current().follow(call.request, () => void call.write({ result: true }));
      streams.add(call);
      const ended = (): void => {
        end();
        streams.delete(call);
      };
      call.once('cancelled', ended);
      call.once('close', ended);
    } catch (error) {
      if (!(error instanceof ScalerError)) throw error;
      call.emit('error', error);
    }
  }

  const server = new Server({ 'grpc.max_receive_message_length': LONGEST_REQUEST });
  server.addService(kedaService(), {
    IsActive: unary((by, ref: ScaledObjectRef) => ({ result: by.isActive(ref) })),
    StreamIsActive: stream,
    GetMetricSpec: unary((by, ref: ScaledObjectRef) => ({ metricSpecs: by.metricSpecs(ref) })),
    GetMetrics: unary((by, request: GetMetricsRequest) => ({ metricValues: by.metricValues(request) })),
  });
  let known = await credentialsOf(options);
  let injector: ConnectionInjector = server.createConnectionInjector(known.credentials);
  const again = interval(READ_AGAIN_MS, () => {
    credentialsOf(options).then(
      (found) => {
        if (found.text === known.text) return;
        known = found;
        injector = server.createConnectionInjector(found.credentials);
      },
      (error: unknown) => log.warn({ err: error }, 'cannot read the certificate for KEDA; retrying'),
    );
  }).unref();

  return {
    answerBy: (now) => {
      scaler = now;
      for (const call of streams) call.end();
      // connections go to whoever leads next, once these ends have been sent
      if (!now) injector.drain(DRAIN_MS);
      injector = server.createConnectionInjector(known.credentials);
    },
    serve: (socket) => injector.injectConnection(socket),
    [Symbol.dispose]: () => {
      again.clear();
      server.forceShutdown();
    },
  };
}

/** `text` is another one when they have changed. */
async function credentialsOf({
  tls,
  clientCa,
}: KedaServerOptions): Promise<{ readonly credentials: ServerCredentials; readonly text: string }> {
  if (!tls) return { credentials: ServerCredentials.createInsecure(), text: '' };
  const { cert, key } = await readTls(tls);
  const ca = clientCa === undefined ? null : await readFile(clientCa);
  const pair = { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) };
  return {
    credentials: ServerCredentials.createSsl(ca, [pair], ca !== null),
    text: [cert, key, ca].join('\n'),
  };
}
