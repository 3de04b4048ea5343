/**
 * HTTPS in front of the metrics for autoscalers: says who asks and whether they may, and answers. Callers are the API server's
 * aggregation layer, which shows its client certificate and names its user, or anyone with a Kubernetes token. It listens on no
 * port itself: connections are given to it (relay.ts).
 *
 * The API server has asked its own authorizer before it passes a request on, and we ask it once more, because the rule of the
 * aggregation layer is that an extension does not rely on that.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { AccessQuestion, Rights } from '../../kube/rights.ts';
import type { Logger } from '../../runtime/log.ts';
import { sendJson } from '../../runtime/replies.ts';
import { timeout, type Timer } from '../../runtime/timers.ts';
import { readTls, type TlsFiles, type TlsMaterial } from '../../runtime/tls-files.ts';
import { bearerIn, userIn, type FrontProxy } from './front-proxy.ts';
import type { Measures } from './measures.ts';
import { answerMetric, failure, METRICS_GROUP, wantedBy, type MetricAnswer } from './metrics-api.ts';

export interface MetricsServerOptions {
  readonly tls: TlsFiles;
  readonly frontProxy: () => Promise<FrontProxy>;
  readonly rights: Rights;
  readonly log: Logger;
}

export interface MetricsServer extends Disposable {
  /** Answers from these measures from now on; without them, that there is no leader. */
  answerFrom(measures: Measures | undefined): void;
  /** Takes over a connection. */
  serve(socket: Socket): void;
}

/** Certificates and the front proxy's authority change a few times in a year; until the latter is known, sooner. */
const READ_AGAIN_MS = 60_000;
const RETRY_MS = 2_000;
const LIMITS = { headersTimeout: 5_000, requestTimeout: 30_000, keepAliveTimeout: 65_000 };

/** Rejects if the certificate cannot be read. What cannot be read later is retried, with what is known until then. */
export async function openMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const { tls, rights, log } = options;
  let material = await readTls(tls);
  let proxy: FrontProxy | undefined;
  let measures: Measures | undefined;
  const server = createServer(
    { ...LIMITS, ...material, requestCert: true, rejectUnauthorized: false },
    handle,
  );
  // a handshake that failed has ended its connection
  server.on('tlsClientError', () => undefined);
  // it does not listen, and Node begins to enforce the limits on slow requests with this event
  server.emit('listening');
  let timer: Timer | undefined;
  let disposed = false;
  await follow();

  /** Never rejects. */
  async function follow(): Promise<void> {
    const before = { material, proxy };
    const [files, found] = await Promise.allSettled([readTls(tls), options.frontProxy()]);
    if (disposed) return;
    if (files.status === 'fulfilled') material = files.value;
    if (found.status === 'fulfilled') proxy = found.value;
    else log.warn({ err: found.reason }, 'cannot read the authority of the API server; retrying');
    if (isChanged(before, { material, proxy }))
      server.setSecureContext({ ...material, ...(proxy && { ca: proxy.ca }) });
    timer = timeout(proxy ? READ_AGAIN_MS : RETRY_MS, () => void follow()).unref();
  }

  function handle(request: IncomingMessage, response: ServerResponse): void {
    answer(request, { rights, proxy, measures }).then(
      ({ status, body }) => void sendJson(request, response, status, body),
      (error: unknown) => {
        log.warn({ err: error }, 'a request for metrics failed');
        const { status, body } = failure(500, 'InternalError', (error as Error).message);
        void sendJson(request, response, status, body);
      },
    );
  }

  return {
    answerFrom: (now) => {
      measures = now;
      // the next request is for whoever leads then
      if (!now) server.closeAllConnections();
    },
    serve: (socket) => void server.emit('connection', socket),
    [Symbol.dispose]: () => {
      disposed = true;
      timer?.clear();
      server.close();
      server.closeAllConnections();
    },
  };
}

/** What a request is answered from. */
interface Known {
  readonly rights: Rights;
  readonly proxy: FrontProxy | undefined;
  /** `undefined` while no controller leads. */
  readonly measures: Measures | undefined;
}

async function answer(request: IncomingMessage, known: Known): Promise<MetricAnswer> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'https://here');
  const wanted = wantedBy(pathname);
  const may = await callerOf(request, known);
  if (!may) return failure(401, 'Unauthorized', 'neither the API server nor a valid token');
  if (!wanted) return failure(404, 'NotFound', `there is nothing at ${pathname.slice(0, 200)}`);
  if (request.method !== 'GET')
    return failure(405, 'MethodNotAllowed', `${request.method} is not allowed here`);
  if (wanted.kind === 'document') return { status: 200, body: wanted.body };
  const { namespace, name } = wanted;
  if (!(await may({ verb: 'get', group: METRICS_GROUP, resource: name, namespace })))
    return failure(
      403,
      'Forbidden',
      `get ${name}.${METRICS_GROUP} in namespace "${namespace}" is not allowed`,
    );
  if (!known.measures) return failure(503, 'ServiceUnavailable', 'no controller leads right now');
  return answerMetric(
    known.measures,
    { namespace, name },
    searchParams.get('labelSelector') ?? '',
    new Date(),
  );
}

/** What the caller may do; `undefined` for one who is not known. */
async function callerOf(
  request: IncomingMessage,
  { proxy, rights }: Known,
): Promise<((question: AccessQuestion) => Promise<boolean>) | undefined> {
  const socket = request.socket as TLSSocket;
  if (proxy && socket.authorized && isAllowed(socket, proxy)) {
    const user = userIn(request.headersDistinct, proxy);
    return user && ((question) => rights.mayUser(user, question));
  }
  const token = bearerIn(request.headers);
  if (token === undefined || (await rights.userOf(token)) === undefined) return undefined;
  return (question) => rights.may(token, question);
}

function isAllowed(socket: TLSSocket, { allowedNames }: FrontProxy): boolean {
  const { CN } = socket.getPeerCertificate().subject;
  return (
    allowedNames.length === 0 || [CN].flat().some((name) => name !== undefined && allowedNames.includes(name))
  );
}

interface Followed {
  readonly material: TlsMaterial;
  readonly proxy: FrontProxy | undefined;
}

function isChanged(before: Followed, now: Followed): boolean {
  const { cert, key } = now.material;
  return before.material.cert !== cert || before.material.key !== key || before.proxy?.ca !== now.proxy?.ca;
}
