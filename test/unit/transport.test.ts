/** The transport against an HTTP server that responds as a row specifies. */
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { describe, expect, test } from 'vitest';
import type { Connection } from '../../kube/connection.ts';
import { KubeError } from '../../kube/errors.ts';
import type { Call, Transport } from '../../kube/transport.ts';
import { createTransport } from '../../kube/transport.ts';

const get: Call = { method: 'GET', path: '/x', what: 'get things shop/tiles' };
const status = (code: number, reason: string, message: string): string =>
  JSON.stringify({ kind: 'Status', code, reason, message });

/** A server that gives its n-th request the n-th answer, and a transport that talks to it. */
async function serve(...answers: RequestListener[]) {
  const seen: { authorization: string | undefined; port: number | undefined }[] = [];
  const server = createServer((request, response) => {
    seen.push({ authorization: request.headers.authorization, port: request.socket.remotePort });
    const answer = answers[seen.length - 1] ?? answers.at(-1);
    answer?.(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  let token = 0;
  const connection: Connection = {
    server: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    namespace: undefined,
    credentials: async () => ({ headers: { authorization: `Bearer ${token}` } }),
    forget: () => void token++,
  };
  const transport: Transport = createTransport(connection);
  return {
    seen,
    transport,
    async [Symbol.asyncDispose]() {
      transport[Symbol.dispose]();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const answer =
  (code: number, body: string, headers: Record<string, string> = {}): RequestListener =>
  (_, response) =>
    void response.writeHead(code, headers).end(body);
const fine = answer(200, '{"ok":true}');
const silent: RequestListener = () => {};
const hangUp: RequestListener = (request) => void request.socket.destroy();

describe('errors', () => {
  const cases: {
    name: string;
    answer: RequestListener;
    message: string;
    is?: Partial<Record<'notFound' | 'conflict' | 'alreadyExists' | 'expired', true>>;
  }[] = [
    {
      name: "the server's own words",
      answer: answer(404, status(404, 'NotFound', 'things "tiles" not found')),
      message: 'get things shop/tiles: 404 NotFound: things "tiles" not found',
      is: { notFound: true },
    },
    {
      name: 'a conflict',
      answer: answer(409, status(409, 'Conflict', 'changed')),
      message: 'get things shop/tiles: 409 Conflict: changed',
      is: { conflict: true },
    },
    {
      name: 'an object that is there already',
      answer: answer(409, status(409, 'AlreadyExists', 'there')),
      message: 'get things shop/tiles: 409 AlreadyExists: there',
      is: { alreadyExists: true },
    },
    {
      name: 'an old resource version',
      answer: answer(410, status(410, 'Expired', 'too old')),
      message: 'get things shop/tiles: 410 Expired: too old',
      is: { expired: true },
    },
    {
      name: 'a page of a gateway, which is not repeated',
      answer: answer(502, '<html>secret</html>'),
      message: 'get things shop/tiles: 502 InternalError: the server gave no reason',
    },
    {
      name: 'a long explanation, cut and on one line',
      answer: answer(422, status(422, 'Invalid', `a\n  b ${'x'.repeat(5000)}`)),
      message: `get things shop/tiles: 422 Invalid: a b ${'x'.repeat(596)}…`,
    },
    {
      name: 'an answer that is not JSON',
      answer: answer(200, 'hello'),
      message:
        'get things shop/tiles: BadAnswer: the answer is not JSON: is this the address of a Kubernetes API server?',
    },
  ];
  test.each(cases)('$name', async ({ answer: given, message, is = {} }) => {
    await using server = await serve(given);
    const call = server.transport.call(get);
    await expect(call).rejects.toBeInstanceOf(KubeError);
    const none = { notFound: false, conflict: false, alreadyExists: false, expired: false };
    await expect(call).rejects.toMatchObject({ message, ...none, ...is });
    expect(server.seen).toHaveLength(1);
  });
});

test('waits as long as the server asks, then tries again', async () => {
  await using server = await serve(
    answer(429, '', { 'retry-after': '1' }),
    answer(503, '', { 'retry-after': '0' }),
    fine,
  );
  const before = performance.now();
  await expect(server.transport.call(get)).resolves.toEqual({ ok: true });
  expect(performance.now() - before).toBeGreaterThanOrEqual(1000);
  expect(server.seen).toHaveLength(3);
});

test('does not wait beyond the timeout, and reports the requested delay', async () => {
  await using server = await serve(answer(429, '', { 'retry-after': '60' }));
  await expect(server.transport.call(get)).rejects.toMatchObject({ status: 429, retryAfterMs: 60_000 });
});

test('re-reads the credentials after a 401, once', async () => {
  await using server = await serve(answer(401, ''), fine, answer(401, ''));
  await expect(server.transport.call(get)).resolves.toEqual({ ok: true });
  await expect(server.transport.call(get)).rejects.toMatchObject({ status: 401, reason: 'Unauthorized' });
  expect(server.seen.map(({ authorization }) => authorization)).toEqual([
    'Bearer 0',
    'Bearer 1',
    'Bearer 1',
    'Bearer 2',
  ]);
});

test('keeps connections, and takes another when a kept one was closed', async () => {
  await using server = await serve(fine, fine, hangUp, fine);
  for (let i = 0; i < 3; i++) await expect(server.transport.call(get)).resolves.toEqual({ ok: true });
  const ports = server.seen.map(({ port }) => port);
  expect(ports.slice(0, 3)).toEqual([ports[0], ports[0], ports[0]]);
  expect(ports[3]).not.toBe(ports[0]);
});

test('never sends a POST twice', async () => {
  await using server = await serve(fine, hangUp, fine);
  const post: Call = { method: 'POST', path: '/x', what: 'create things shop/tiles', body: {} };
  await server.transport.call(post);
  await expect(server.transport.call(post)).rejects.toThrow(
    'create things shop/tiles: Unreachable: socket hang up',
  );
  expect(server.seen).toHaveLength(2);
});

describe('a server that does not answer', () => {
  test('ends in a timeout', async () => {
    await using server = await serve(silent);
    await expect(server.transport.call(get, { timeoutMs: 50 })).rejects.toThrow(
      'get things shop/tiles: Timeout: no answer within 50 ms',
    );
  });

  test("ends with the signal's reason", async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    await using server = await serve(() => controller.abort(reason));
    await expect(server.transport.call(get, { signal: controller.signal })).rejects.toBe(reason);
    await expect(server.transport.call(get, { signal: controller.signal })).rejects.toBe(reason);
    expect(server.seen).toHaveLength(1);
  });
});

const stream: RequestListener = (_, response) => {
  response.writeHead(200);
  response.write('{"a":"');
  response.write('ü"}\n{"b":1}\n{"c"');
};

const broken: RequestListener = (_, response) => {
  response.writeHead(200);
  response.write('{}\n');
  response.socket?.end();
};

describe('a stream', () => {
  test('gives whole lines, and ends with its signal', async () => {
    const controller = new AbortController();
    await using server = await serve(stream);
    const lines: string[] = [];
    const read = async (): Promise<void> => {
      for await (const line of await server.transport.stream(get, { signal: controller.signal })) {
        lines.push(line);
        if (lines.length === 2) controller.abort(new Error('enough'));
      }
    };
    await expect(read()).rejects.toThrow('enough');
    expect(lines).toEqual(['{"a":"ü"}', '{"b":1}']);
  });

  test('reports that the connection broke', async () => {
    await using server = await serve(broken);
    const read = async (): Promise<void> => {
      const { signal } = new AbortController();
      for await (const line of await server.transport.stream(get, { signal })) expect(line).toBe('{}');
    };
    await expect(read()).rejects.toThrow('get things shop/tiles: Unreachable: aborted');
  });
});

test('a call waits while an urgent one is under way', async () => {
  const order: string[] = [];
  const came = Promise.withResolvers<void>();
  let finish = (): void => undefined;
  await using served = await serve(
    (_, response) => {
      order.push('urgent');
      finish = () => void response.writeHead(200).end('{}');
      came.resolve();
    },
    (_, response) => {
      order.push('other');
      response.writeHead(200).end('{}');
    },
  );
  const urgent = served.transport.call({ ...get, urgent: true });
  const other = served.transport.call(get);
  await came.promise;
  order.push('the urgent one is answered');
  finish();
  await Promise.all([urgent, other]);
  expect(order).toEqual(['urgent', 'the urgent one is answered', 'other']);
});
