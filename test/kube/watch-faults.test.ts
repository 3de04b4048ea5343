/**
 * Every way in which a watch ends other than by the server, against a real API server behind a proxy: `reflect` continues
 * after each, and misses nothing. The informer of the official client ends for good at a reset connection, and at any status
 * but 410.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createKubeApi } from '../../kube/client.ts';
import { LEASES } from '../../kube/resources.ts';
import { createTransport, type Transport } from '../../kube/transport.ts';
import { reflect } from '../../kube/watch.ts';
import { startApiServer, type ApiServer } from '../support/apiserver.ts';
import { eventually } from '../support/eventually.ts';
import { adminTransport, connectObjects, type Objects } from '../support/world.ts';

/** What becomes of the first watch; it gets what the server answered, and what the client is given. */
type Fault = (upstream: IncomingMessage, response: ServerResponse) => void;

const status =
  (code: number, reason: string, headers: Record<string, string> = {}): Fault =>
  (upstream, response) => {
    upstream.destroy();
    response.writeHead(code, headers);
    response.end(JSON.stringify({ kind: 'Status', status: 'Failure', code, reason, message: reason }));
  };

/** An event of the type ERROR on a stream that is left open. */
const errorEvent =
  (code: number, reason: string): Fault =>
  (upstream, response) => {
    upstream.destroy();
    const object = { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: reason };
    response.writeHead(200).write(`${JSON.stringify({ type: 'ERROR', object })}\n`);
  };

/** Half of the first event, and then an end. */
const half =
  (end: (response: ServerResponse) => void): Fault =>
  (upstream, response) => {
    response.writeHead(200);
    response.flushHeaders();
    upstream.once('data', (chunk: Buffer) => {
      upstream.destroy();
      response.write(chunk.subarray(0, chunk.length / 2), () => end(response));
    });
  };

const reset = (response: ServerResponse): void => void response.socket?.resetAndDestroy();

const rows: [what: string, fault: Fault, lists: number, error: object | undefined][] = [
  ['a clean end at once', (_, response) => void response.writeHead(200).end(), 1, undefined],
  ['a reset before an answer', (_, response) => reset(response), 1, { reason: 'Unreachable' }],
  [
    'a reset after the headers',
    (_, response) => {
      response.writeHead(200).flushHeaders();
      setImmediate(reset, response);
    },
    1,
    { reason: 'Unreachable' },
  ],
  ['a clean end in the middle of a line', half((response) => response.end()), 1, undefined],
  ['a reset in the middle of a line', half(reset), 1, { reason: 'Unreachable' }],
  ['a status of 401', status(401, 'Unauthorized'), 1, undefined],
  [
    'a status of 429 with a time to wait',
    status(429, 'TooManyRequests', { 'retry-after': '0' }),
    1,
    undefined,
  ],
  ['a status of 429 without one', status(429, 'TooManyRequests'), 1, { status: 429 }],
  ['a status of 500', status(500, 'InternalError'), 1, { status: 500 }],
  ['a status of 410', status(410, 'Expired'), 2, { expired: true }],
  ['an error event of 500', errorEvent(500, 'InternalError'), 1, { status: 500 }],
  ['an error event of 410, with the stream left open', errorEvent(410, 'Expired'), 2, { expired: true }],
];

let server: ApiServer;
let admin: Transport;
let objects: Objects;
let namespace: string;
let proxy: Proxy | undefined;

beforeAll(async () => {
  server = await startApiServer();
  admin = adminTransport(server);
  objects = connectObjects(admin);
});
afterAll(async () => {
  admin?.[Symbol.dispose]();
  await server?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  namespace = await server.namespace('watch');
});
afterEach(async () => {
  await proxy?.[Symbol.asyncDispose]();
  proxy = undefined;
});

test.each(rows)('continues after %s', async (_what, fault, lists, error) => {
  proxy = await startProxy(fault);
  using transport = createTransport({
    server: proxy.address,
    namespace: undefined,
    credentials: () => Promise.resolve({ headers: {} }),
    forget: () => {},
  });
  const controller = new AbortController();
  const [seen, errors]: [string[], unknown[]] = [[], []];
  await create('a');
  const reflector = reflect({
    api: createKubeApi(transport),
    resource: LEASES,
    namespaces: [namespace],
    signal: controller.signal,
    backoff: { initialMs: 20, maxMs: 100 },
    onChange: (key) => seen.push(key.split('/')[1] ?? ''),
    onError: (failure) => errors.push(failure),
  });
  await proxy.first;
  await create('b');
  await eventually(() => expect(seen).toContain('b'));
  await create('c');
  await eventually(() => expect(seen).toContain('c'));
  expect(errors).toEqual(error === undefined ? [] : [expect.objectContaining(error)]);
  expect(proxy.lists()).toBe(lists);
  // an unbroken history tells of each change once
  if (lists === 1) expect(seen).toEqual(['a', 'b', 'c']);
  controller.abort();
  await reflector.stopped;
});

const create = (name: string): Promise<unknown> =>
  objects.create(LEASES, namespace, { metadata: { name }, spec: { holderIdentity: 'x' } });

interface Proxy extends AsyncDisposable {
  readonly address: string;
  /** Resolves when the first watch has been asked for. */
  readonly first: Promise<void>;
  lists(): number;
}

/** Hands on as admin what it is asked, and gives the first watch to `fault`. */
async function startProxy(fault: Fault): Promise<Proxy> {
  const first = Promise.withResolvers<void>();
  let [watches, lists] = [0, 0];
  const agent = { ca: Buffer.from(server.caData, 'base64').toString(), agent: false } as const;
  const proxying = createServer((incoming, response) => {
    const watch = incoming.url?.includes('watch=true') === true;
    if (!watch) lists++;
    const faulty = watch && watches++ === 0;
    const headers = { authorization: `Bearer ${server.token}`, accept: 'application/json' };
    const outgoing = request(
      new URL(incoming.url ?? '', server.server),
      { ...agent, headers },
      (upstream) => {
        upstream.on('error', () => response.destroy());
        if (faulty) {
          first.resolve();
          fault(upstream, response);
        } else upstream.pipe(response.writeHead(upstream.statusCode ?? 502));
      },
    );
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    outgoing.end();
  });
  await new Promise<void>((resolve) => {
    proxying.listen(0, '127.0.0.1', resolve);
  });
  return {
    address: `http://127.0.0.1:${(proxying.address() as AddressInfo).port}`,
    first: first.promise,
    lists: () => lists,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        proxying.close(() => resolve());
        proxying.closeAllConnections();
      }),
  };
}
